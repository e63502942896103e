"""Studies and recordings below a folder, each under an id that cannot be turned into another path."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from slopewise.recording import has_header
from slopewise.study import FILE, POINTER

_MOST = 100_000  # files and folders that are looked at
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Entry:
    """Folder of a study or file of a recording; `name` is its path below the watched folder."""

    id: str
    name: str
    path: Path
    study: bool


def find_runs(folder: Path) -> tuple[dict[str, Entry], bool]:
    """Return all runs below a folder by id, and True if there was too much to look at.

    Links are not followed, and hidden folders are left out.

    Example:
        >>> find_runs(Path("no/such/folder"))
        ({}, False)
    """
    runs: dict[str, Entry] = {}
    looked = 0
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        looked += len(folders) + len(files)
        if looked > _MOST:
            return runs, True
        for file in sorted(files):
            path = Path(root, file)
            study = file in (FILE, POINTER)
            if path.is_symlink() or not (study or (file.endswith(".jsonl") and has_header(path))):
                continue
            location = path.parent if study else path
            name = location.relative_to(folder).as_posix()
            key = hashlib.sha256(f"{study} {name}".encode(errors="surrogateescape")).hexdigest()[:12]
            runs[key] = Entry(key, folder.resolve().name if name == "." else name, location, study)
    return runs, False
