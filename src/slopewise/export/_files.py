"""Files that take their place once they are complete and proved."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def new_files(path: Path) -> Iterator[Path]:
    """Where to write a file, and others beside it; they get to `path` if the block ends without an error."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".slopewise-export-") as folder:
        target = Path(folder, path.name)
        yield target
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == target):  # the weights before their user
            file.replace(path.parent / file.name)
