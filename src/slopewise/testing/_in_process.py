"""An engine without worker processes, for tests and debuggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from slopewise.events import TrialKey
from slopewise.study import StudySpec
from slopewise.study.engines import Engine, Report, Session, TrialData, Workplace, attempt


class InProcessEngine(Engine):
    """Runs trials one after another in the process of the caller, where no worker has to start.

    A trial that ends its process ends the study, and trials share the state of the process: use it in tests, or to
    step through a trial in a debugger.

    Example:
        >>> InProcessEngine().capacity(StudySpec())
        1
    """

    def capacity(self, spec: StudySpec) -> int:  # noqa: ARG002 - the signature of engines
        """Return 1."""
        return 1

    @contextmanager
    def open(self, spec: StudySpec, data: TrialData) -> Iterator[Session]:
        """Return a session that runs each trial when its reports are asked for."""
        yield _Session(spec, data)


class _Session(Session):
    def __init__(self, spec: StudySpec, data: TrialData) -> None:
        if isinstance(data, Workplace):
            data = replace(data, keep_memory=False)  # a setting of the process, which is not the study's own
        self._spec, self._data = spec, data
        self._trial: TrialKey | None = None

    def free(self, unended: int) -> int:  # noqa: ARG002
        return 0 if self._trial else 1

    def place(self, trial: TrialKey, attempt: int) -> None:  # noqa: ARG002
        self._trial = trial

    def reports(self, timeout: float | None = None) -> Sequence[Report]:  # noqa: ARG002
        reports: list[Report] = []
        if self._trial:
            reports.append(attempt(self._spec, self._trial, self._data, reports.append))
            self._trial = None
        return reports

    def give_up(self, trial: TrialKey) -> None:
        """Do nothing: no trial runs while the driver does."""
