"""Files that are moved into place once they are complete and verified."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def new_files(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file and its companions, which move to `path` if the block raises no error."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".slopewise-export-") as folder:
        target = Path(folder, path.name)
        yield target
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == target):  # the file itself last
            file.replace(path.parent / file.name)
