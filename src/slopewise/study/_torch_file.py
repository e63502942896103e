"""Files of `torch.save` that are whole or not there: written beside their place, brought to the disk, and renamed."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

UNFINISHED = ".unfinished"
DIGITS = 16  # of a digest, in a file's name


def save_whole(content: Any, folder: Path, name: Callable[[str], str]) -> Path:
    """Save an object into a folder, which is created if it is missing, and return the file's path.

    A process that is killed at any moment, or a machine that loses power, leaves no half file under the name.

    Args:
        content: Object for `torch.save`.
        folder: Folder of the file.
        name: Function that returns the file's name, given the first digits of the SHA-256 of its contents.

    Raises:
        OSError: The disk is full, or the folder cannot be written. No file stays.

    Example:
        >>> import tempfile, torch
        >>> path = save_whole({"weight": torch.ones(2)}, Path(tempfile.mkdtemp()), lambda digest: "net.pt")
        >>> torch.load(path, weights_only=True)
        {'weight': tensor([1., 1.])}
    """
    import torch  # engines, which know the names of unfinished files, do not wait for it

    # Named at random: a process that was frozen, and thaws when its training goes on elsewhere, may save as well.
    unfinished = folder / f".{uuid.uuid4().hex}{UNFINISHED}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            hashed = _Hashed(file)
            torch.save(content, cast("BinaryIO", hashed))
            hashed.flush()
            os.fsync(file.fileno())
        path = folder / name(hashed.digest)
        unfinished.replace(path)
        _to_disk(folder)
    finally:
        with suppress(OSError):  # a folder that cannot be written: there is no such file
            unfinished.unlink(missing_ok=True)
    return path


class _Hashed:
    """Writes to a file, and hashes what it writes.

    PyTorch's writer, which is C++, reports a failed write as a RuntimeError without its reason. So a failure is kept,
    further writes are left out, and `flush` raises it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self._fault: OSError | None = None

    def write(self, data: bytes) -> int:
        if self._fault is None:
            try:
                self._file.write(data)
                self._hash.update(data)
            except OSError as error:
                self._fault = error
        return len(data)

    def flush(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._file.flush()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:DIGITS]


def _to_disk(folder: Path) -> None:
    """Bring the names of a folder's files to the disk, where the system can."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
