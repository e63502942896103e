"""The driver of an engine: the order of trials, their attempts, and their ends."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

from slopewise.errors import EngineError
from slopewise.events import Ended, Started, TrialEvent, TrialKey
from slopewise.study._cells import failed
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._workplace import TrialData, Workplace
from slopewise.study.engines._base import Begun, Engine, Lost, Report

ATTEMPTS = 2  # the first one and a retry
_LOSSES = 10  # losses of one trial before it has begun, after which the engine is taken to be broken


def drive(
    engine: Engine,
    spec: StudySpec,
    trials: Sequence[TrialKey],
    data: TrialData | None,
    more: Callable[[], Sequence[TrialKey]] = tuple,
) -> Generator[TrialEvent, None, None]:
    """Run the trials on an engine; see `Engine.run`."""
    spec = stored_spec(spec.model_dump(mode="json"))  # trials depend on what the store keeps of a spec, and no more
    progress = Progress(trials)
    with engine.open(spec, data or _read(spec)) as session:
        while progress.unended:
            for _ in range(session.free(progress.unended)):
                if trial := progress.next():
                    session.place(*trial)
            for report in session.reports():
                if event := progress.follow(report):
                    yield event
            if not progress.unended:
                progress.add(more())


def _read(spec: StudySpec) -> TrialData:
    if spec.train.function is not None:
        return Workplace(Path.cwd())
    from slopewise.study.data import read_data  # with torch, which the command line does not wait for
    from slopewise.study.tasks import make_task

    return read_data(spec.data, make_task(spec.task).targets)


def _trial_of(report: Report) -> TrialKey:
    if isinstance(report, Ended):
        return TrialKey(report.record.arm, report.record.seed, report.record.cell)
    return report.trial


class Progress:
    """State of the trials: waiting ones in order, each with the number of its next attempt, and placed ones."""

    def __init__(self, trials: Sequence[TrialKey]) -> None:
        self._waiting = deque[tuple[TrialKey, int]]()
        self._placed: dict[TrialKey, int] = {}
        self._begun: set[TrialKey] = set()
        self._losses = Counter[TrialKey]()
        self.add(trials)

    def add(self, trials: Sequence[TrialKey]) -> None:
        """Append trials to the queue for their first attempt."""
        self._waiting.extend((trial, 1) for trial in trials)

    @property
    def unended(self) -> int:
        """Number of trials that have not ended."""
        return len(self._waiting) + len(self._placed)

    def next(self) -> tuple[TrialKey, int] | None:
        """Return the next trial to place and the number of its attempt; None if no trial waits."""
        if not self._waiting:
            return None
        trial, attempt = self._waiting.popleft()
        self._placed[trial] = attempt
        return trial, attempt

    def follow(self, report: Report) -> TrialEvent | None:
        """Take note of a report, and return the event of the study that it amounts to, if any.

        Raises:
            EngineError: The engine loses a trial again and again before it begins.
        """
        trial = _trial_of(report)
        if trial not in self._placed:
            return None  # news of a worker that was given up, whose trial has ended elsewhere or waits
        if isinstance(report, Begun):
            self._begun.add(trial)
            return Started(trial, self._placed[trial])
        if isinstance(report, Lost):
            return self._lose(trial, report.cause)
        return self._end(trial, report) if isinstance(report, Ended) else report

    def _lose(self, trial: TrialKey, cause: str) -> Ended | None:
        if trial in self._begun:
            record = failed(trial, f"{cause} during this trial")
            return self._end(trial, Ended(record, None))
        self._losses[trial] += 1
        if self._losses[trial] == _LOSSES:
            raise EngineError(
                f"trial {trial.arm}, seed {trial.seed}, was lost {_LOSSES} times before it began: at last, {cause}"
            )
        self._wait(trial, self._placed[trial])
        return None

    def _end(self, trial: TrialKey, ended: Ended) -> Ended | None:
        attempt = self._placed[trial]
        if ended.record.status == "failed" and ended.fault is None and attempt < ATTEMPTS:
            self._wait(trial, attempt + 1)
            return None
        del self._placed[trial]
        return replace(ended, record=replace(ended.record, attempts=attempt))

    def _wait(self, trial: TrialKey, attempt: int) -> None:
        """Put a placed trial first in the queue: a retry does not wait for all others."""
        del self._placed[trial]
        self._begun.discard(trial)
        self._waiting.appendleft((trial, attempt))
