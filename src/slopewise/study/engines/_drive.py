"""The driver of an engine: the order of trials, their attempts, and their ends."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from slopewise.errors import EngineError
from slopewise.events import Ended, Started, TrialEvent, TrialKey
from slopewise.study._cells import failed
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._stopping import stop_requested
from slopewise.study._workplace import TrialData, Workplace
from slopewise.study.engines._base import GRACE, Begun, Claim, Engine, Lost, Report, Session, Stopped

ATTEMPTS = 2  # the first one and a retry
_LOSSES = 10  # losses of one trial without a fault of its own, after which the engine is taken to be broken
_ASK_AGAIN = 1.0  # seconds between claims of a trial that another driver has
_LOOK = 0.5  # seconds between looks at a request to stop, which a signal handler makes


def drive(
    engine: Engine,
    spec: StudySpec,
    trials: Sequence[TrialKey],
    data: TrialData | None,
    more: Callable[[], Sequence[TrialKey]] = tuple,
    *,
    time_limit: float | None = None,
    claim: Callable[[TrialKey], Claim] | None = None,
    grace: float = GRACE,
) -> Generator[TrialEvent, None, None]:
    """Run the trials on an engine; see `Engine.run`."""
    spec = stored_spec(spec.model_dump(mode="json"))  # trials depend on what the store keeps of a spec, and no more
    progress = Progress(trials, time_limit=time_limit, claim=claim)
    with engine.open(spec, data or _read(spec)) as session:
        while progress.unended:
            if stop_requested():
                yield from _stop(session, progress, grace)
                return
            for _ in range(session.free(progress.unended)):
                if placement := progress.next():
                    session.place(*placement)
            if not progress.unended:  # another driver has stored the last ones
                progress.add(more())
                continue
            for report in session.reports(progress.patience()):
                if event := progress.follow(report):
                    yield event
            for trial in progress.overdue():
                session.give_up(trial)
                if event := progress.follow(Lost(trial, f"the time limit of {time_limit:g} s was exceeded")):
                    yield event
            if not progress.unended:
                progress.add(more())


def _stop(session: Session, progress: Progress, grace: float) -> Generator[TrialEvent, None, None]:
    """Ask all trials to stop, and follow them until they have, at most for the grace period.

    Only trials that finish are ended: one that fails or is lost now may have failed of the signal, and runs again.
    """
    session.ask_to_stop()
    end = monotonic() + grace
    while progress.placed and (left := end - monotonic()) > 0:
        for report in session.reports(left):
            failure = isinstance(report, Lost) or (isinstance(report, Ended) and report.record.status == "failed")
            if event := progress.follow(Stopped(_trial_of(report)) if failure else report):
                yield event


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
    """State of the trials: waiting ones in order, each with the number of its next attempt, and placed ones.

    Args:
        trials: Trials to run, in order.
        time_limit: Number of seconds that an attempt may take after it has begun; None sets no limit.
        claim: Function that claims a trial for this driver; None claims all.
    """

    def __init__(
        self,
        trials: Sequence[TrialKey],
        *,
        time_limit: float | None = None,
        claim: Callable[[TrialKey], Claim] | None = None,
    ) -> None:
        self._waiting = deque[tuple[TrialKey, int]]()
        self._elsewhere = deque[tuple[TrialKey, int]]()  # claimed by other drivers, which may end before they do
        self._placed: dict[TrialKey, int] = {}
        self._begun: dict[TrialKey, float] = {}  # with the time on the monotonic clock, which nobody sets back
        self._losses = Counter[TrialKey]()
        self._limit = math.inf if time_limit is None else time_limit
        self._claim, self._asked = claim, monotonic()
        self.add(trials)

    def add(self, trials: Sequence[TrialKey]) -> None:
        """Append trials to the queue for their first attempt."""
        self._waiting.extend((trial, 1) for trial in trials)

    @property
    def placed(self) -> bool:
        """True if any trial is placed."""
        return bool(self._placed)

    @property
    def unended(self) -> int:
        """Number of trials that have not ended."""
        return len(self._waiting) + len(self._elsewhere) + len(self._placed)

    def next(self) -> tuple[TrialKey, int] | None:
        """Return the next trial to place and the number of its attempt; None if no trial waits."""
        if self._elsewhere and monotonic() >= self._asked + _ASK_AGAIN:
            self._asked = monotonic()
            self._waiting.extend(self._elsewhere)
            self._elsewhere.clear()
        while self._waiting:
            trial, attempt = self._waiting.popleft()
            claim = self._claim(trial) if self._claim else Claim.OURS
            if claim is Claim.OURS:
                self._placed[trial] = attempt
                return trial, attempt
            if claim is Claim.THEIRS:
                self._elsewhere.append((trial, attempt))
        return None

    def patience(self) -> float:
        """Return the number of seconds after which the driver must look up if nothing happens."""
        left = min(self._begun.values(), default=math.inf) + self._limit - monotonic()
        return max(min(left, _LOOK), 0.0)

    def overdue(self) -> list[TrialKey]:
        """Return the placed trials that have exceeded their time limit."""
        return [trial for trial, begun in self._begun.items() if monotonic() >= begun + self._limit]

    def follow(self, report: Report) -> TrialEvent | None:
        """Take note of a report, and return the event of the study that it amounts to, if any.

        Raises:
            EngineError: The engine loses a trial again and again before it begins.
        """
        trial = _trial_of(report)
        if trial not in self._placed:
            return None  # news of a worker that was given up, whose trial has ended elsewhere or waits
        if isinstance(report, Begun):
            self._begun[trial] = monotonic()
            return Started(trial, self._placed[trial])
        if isinstance(report, Lost):
            return self._lose(report)
        if isinstance(report, Stopped):
            self._wait(trial, self._placed[trial])
            return None
        return self._end(trial, report) if isinstance(report, Ended) else report

    def _lose(self, lost: Lost) -> Ended | None:
        trial = lost.trial
        if trial in self._begun and not lost.blameless:
            record = failed(trial, f"{lost.cause} during this trial")
            return self._end(trial, Ended(record, None))
        self._losses[trial] += 1
        if self._losses[trial] == _LOSSES:
            raise EngineError(
                f"trial {trial.arm}, seed {trial.seed}, was lost {_LOSSES} times without a fault of its own: at last, "
                f"{lost.cause}"
            )
        self._wait(trial, self._placed[trial])
        return None

    def _end(self, trial: TrialKey, ended: Ended) -> Ended | None:
        attempt = self._placed[trial]
        if ended.record.status == "failed" and ended.fault is None and attempt < ATTEMPTS:
            self._wait(trial, attempt + 1)
            return None
        del self._placed[trial]
        self._begun.pop(trial, None)
        return replace(ended, record=replace(ended.record, attempts=attempt))

    def _wait(self, trial: TrialKey, attempt: int) -> None:
        """Put a placed trial first in the queue: a retry does not wait for all others."""
        del self._placed[trial]
        self._begun.pop(trial, None)
        self._waiting.appendleft((trial, attempt))
