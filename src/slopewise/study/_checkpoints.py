"""Checkpoints of a trial that has not ended: a folder of numbered files, each of which is whole or not there."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from slopewise.errors import FunctionError, StoreWarning
from slopewise.study._plain import check_plain
from slopewise.study._torch_file import DIGITS, UNFINISHED, save_whole

_SUFFIX = ".pt"


class Checkpoints:
    """The latest checkpoints of one training, in a folder of its own.

    A checkpoint is written to a temporary file, brought to the disk, and renamed: a process that is killed at any
    moment, or a machine that loses power, leaves the checkpoint before it. The file's name has its number and a digest
    of its content, by which a damaged file is recognised: PyTorch itself does not notice a changed weight. Files are
    read with `torch.load(weights_only=True)`, which runs no code of theirs.

    Args:
        folder: Folder of the checkpoints; created by the first one.
        identity: Name of the training that the checkpoints belong to. Files of another one are ignored.
        keep: Number of checkpoints to keep, at least 1; more than 1, since the latest may turn out to be damaged.

    Example:
        >>> import tempfile
        >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()) / "checkpoints")
        >>> checkpoints.latest() is None
        True
        >>> for step in (10, 20, 30):
        ...     _ = checkpoints.save(step, {"step": step, "weight": torch.ones(2)})
        >>> checkpoints.latest()["step"], len(list(checkpoints.folder.iterdir()))
        (30, 2)
    """

    def __init__(self, folder: str | os.PathLike[str], *, identity: str = "", keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be 1 or more, got {keep}")
        self.folder, self.identity, self.keep = Path(folder), identity, keep

    def save(self, step: int, state: Mapping[str, Any]) -> bool:
        """Save a state, and remove all files but the latest `keep`.

        A full or failing disk does not end the training: the warning says so, no half file stays, and the checkpoints
        before are kept.

        Args:
            step: Number of the checkpoint, 0 or more. Files with a higher number are removed: the training has gone
                back behind them.
            state: Tensors, numbers, text and None, in dicts, lists and tuples. Nothing else could be read again.

        Returns:
            True if the checkpoint is on the disk.

        Raises:
            FunctionError: The state is not plain; the message names the key.

        Warns:
            StoreWarning: The checkpoint could not be written.
        """
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise FunctionError(f"saved a checkpoint with step {step!r}: steps are whole numbers from 0")
        check_plain(dict(state))
        content = {"identity": self.identity, "step": step, "state": dict(state)}
        try:
            path = save_whole(content, self.folder, lambda digest: f"{step:012d}-{digest}{_SUFFIX}")
            self._remove_all_but(path, step)
        except OSError as error:
            warnings.warn(
                f"cannot save a checkpoint in '{self.folder}': {error.strerror or error}. The training goes on; if it "
                "is interrupted, it goes back to the checkpoint before, or to its beginning",
                StoreWarning,
                stacklevel=2,
            )
            return False
        return True

    def latest(self) -> dict[str, Any] | None:
        """Return the state of the latest checkpoint that can be read, on the CPU; None if there is none.

        Warns:
            StoreWarning: A later one is damaged, or belongs to another training, and is passed over.
        """
        for _, path in self._files():
            try:
                return self._read(path)
            except (OSError, RuntimeError, pickle.UnpicklingError, ValueError) as error:
                warnings.warn(
                    f"the checkpoint '{path}' {error}: the training goes back to the one before, or to its beginning",
                    StoreWarning,
                    stacklevel=2,
                )
        return None

    def clear(self) -> None:
        """Remove the folder with all that it holds."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> dict[str, Any]:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
        if digest != path.stem.partition("-")[2]:
            raise ValueError("is damaged")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            identity, state = content["identity"], content["state"]
        except (KeyError, TypeError, EOFError) as error:
            raise ValueError("holds something else") from error
        if identity != self.identity:
            raise ValueError("is of another training, or of other code or settings")
        return dict(state)

    def _files(self) -> list[tuple[int, Path]]:
        """Return the checkpoints with their numbers, the latest first."""
        return sorted(self._numbered(), reverse=True)

    def _numbered(self) -> Iterator[tuple[int, Path]]:
        for path in self.folder.glob(f"*-*{_SUFFIX}"):
            number = path.name.partition("-")[0]
            if number.isdecimal():
                yield int(number), path

    def _remove_all_but(self, latest: Path, step: int) -> None:
        older = [path for number, path in self._files() if number < step][: self.keep - 1]
        for path in (*self.folder.glob(f"*-*{_SUFFIX}"), *self.folder.glob(f".*{UNFINISHED}")):
            if path not in (latest, *older):
                path.unlink(missing_ok=True)
