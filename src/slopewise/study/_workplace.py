"""Data of trials: the images of the study, and folders of their own."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Union

from slopewise.study._torch_file import UNFINISHED
from slopewise.support import unused

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

_LONGEST = 60  # characters of an arm's name in a path
EVERY = 300.0  # seconds between checkpoints of a trial
_TRIALS, _WEIGHTS, CHECKPOINTS = "trials", "weights", "checkpoints"
LOG = "log.txt"  # output of a trial, in its folder


@dataclass(frozen=True)
class Workplace:
    """Folders of the trials of a study.

    Attributes:
        folder: Folder of the study.
        cell: Key of the cell of the trials; empty for the study's own settings.
        images: Images of the study; None for a training function, which reads its own.
        checkpoint_every: Number of seconds between two checkpoints of a trial; 0 saves none.
        keep_weights: True to keep the final weights of each trial that does not diverge.
        keep_memory: True if processes that run trials keep the memory that they free; see `machine.keep_memory`.

    Example:
        >>> Workplace(Path("out")).of("relu", 3).as_posix()
        'out/trials/relu/seed-3'
    """

    folder: Path
    cell: str = ""
    images: ImageData | None = None
    checkpoint_every: float = EVERY
    keep_weights: bool = False
    keep_memory: bool = False

    def of(self, arm: str, seed: int) -> Path:
        """Return the folder of a trial, which differs for any two trials."""
        return self._named(_TRIALS, arm, seed)

    def weights_of(self, arm: str, seed: int) -> Path:
        """Return the file of a trial's final weights.

        Example:
            >>> Workplace(Path("out")).weights_of("relu", 3).as_posix()
            'out/weights/relu/seed-3.pt'
        """
        path = self._named(_WEIGHTS, arm, seed)
        return path.with_name(f"{path.name}.pt")

    def _named(self, kind: str, arm: str, seed: int) -> Path:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", arm)[:_LONGEST]
        if name != arm or name.startswith("."):  # characters that some file systems refuse
            name = f"{name.lstrip('.')}-{hashlib.sha256(arm.encode()).hexdigest()[:8]}"
        return self.folder / kind / name / f"seed-{seed}{self._suffix}"

    def checkpoints_of(self, arm: str, seed: int) -> Path:
        """Return the folder of a trial's checkpoints, which are removed once the trial has finished."""
        return self.of(arm, seed) / CHECKPOINTS

    def forget(self, arm: str, seed: int) -> None:
        """Remove the checkpoints of a trial, and its folder if nothing else is in it."""
        if self.of(arm, seed).exists():
            shutil.rmtree(self.checkpoints_of(arm, seed), ignore_errors=True)
            _remove_if_empty(self.of(arm, seed))

    def tidy(self) -> None:
        """Remove empty folders and what a killed process has left behind, once no trial runs."""
        trials = self.folder / _TRIALS
        for path in (self.folder / _WEIGHTS).glob(f"*/.*{UNFINISHED}"):
            path.unlink(missing_ok=True)
        for path in (*trials.glob("*/"), trials):
            _remove_if_empty(path)

    def in_cell(self, cell: str) -> Workplace:
        """Return the workplace for the trials of a cell, given its key.

        Example:
            >>> Workplace(Path("out")).in_cell("train.options.width = 8").of("relu", 3).name
            'seed-3-train.options.width-8-fa795f29'
        """
        return replace(self, cell=cell)

    @property
    def _suffix(self) -> str:
        if not self.cell:
            return ""
        words = re.sub(r"[^A-Za-z0-9._]+", "-", self.cell)[:_LONGEST]
        return f"-{words}-{hashlib.sha256(self.cell.encode()).hexdigest()[:8]}"


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # something is in it
        folder.rmdir()


def set_aside(folder: Path) -> None:
    """Rename what a study that is no longer there has left: a new one must not go on from it, or be taken for it."""
    for kind, files in ((_TRIALS, f"*/seed-*/{LOG}"), (_WEIGHTS, "*/seed-*.pt")):
        path = folder / kind
        if any(path.glob(files)):  # anything else of this name is the user's own
            path.rename(unused(path, "before"))


TrialData = Union["ImageData", Workplace]
