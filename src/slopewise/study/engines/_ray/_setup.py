"""The common part of a study's trials: spec, data, and the places where the driver finds modules and files.

It is put into the cluster's object store once. Each worker process fetches it once, and keeps it for its next trials.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slopewise.study._spec import StudySpec
from slopewise.study._workplace import TrialData

_FETCHED: dict[str, Setup] = {}  # of this worker process, by the identity of the object


@dataclass(frozen=True)
class Setup:
    """Common part of a study's trials.

    Attributes:
        spec: Spec of the study.
        data: Images of the study, or the folders of a training function's trials.
        paths: Places where the driver looks for modules.
        folder: Working directory of the driver; None if the trials have one of their own.
    """

    spec: StudySpec
    data: TrialData
    paths: tuple[str, ...]
    folder: str | None

    @classmethod
    def here(cls, spec: StudySpec, data: TrialData, *, moved: bool) -> Setup:
        """Return the setup as this process has it; `moved` if the trials have a copy of its working directory."""
        paths = [str(Path(path).absolute()) for path in sys.path]
        return cls(spec, data, tuple(dict.fromkeys(paths)), None if moved else str(Path.cwd()))

    @classmethod
    def fetched(cls, box: list[Any]) -> Setup:
        """Return the setup that a reference in a list stands for, and prepare this process for it.

        In a list, because Ray would fetch a bare reference again for each task.
        """
        import ray

        key = box[0].hex()
        if key not in _FETCHED:
            _FETCHED.clear()  # the images of an earlier study
            with warnings.catch_warnings():
                # Arrays of the object store are shared by the processes of a node, which only read them.
                warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                _FETCHED[key] = ray.get(box[0])
        _FETCHED[key]._enter()
        return _FETCHED[key]

    def _enter(self) -> None:
        sys.path += [path for path in self.paths if path not in sys.path and Path(path).exists()]
        if self.folder is not None and Path(self.folder).is_dir():  # on other machines it may be absent
            os.chdir(self.folder)
