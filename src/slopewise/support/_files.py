"""Names for files that are kept beside others."""

from __future__ import annotations

import time
from pathlib import Path


def unused(path: Path, word: str) -> Path:
    """Return an unused path beside a file or folder that is to be kept aside, with a word and the time in its name.

    Example:
        >>> unused(Path("study.db"), "damaged").name[:17]
        'study.db.damaged-'
    """
    name = f"{path.name}.{word}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (path.with_name(f"{name}{end}") for end in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(aside for aside in names if not aside.exists())
