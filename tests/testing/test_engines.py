"""The kit for engines: the engine of the package passes, and one with faults does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from slopewise.events import Ended, TrialKey
from slopewise.study import StudySpec
from slopewise.study.data import ImageData
from slopewise.study.engines import LocalEngine, Report, Session
from slopewise.testing import InProcessEngine, check_engine

pytestmark = pytest.mark.slow


def test_the_local_engine_conforms() -> None:
    check_engine(lambda: LocalEngine(workers=2))


@pytest.mark.cold
def test_a_new_interpreter_imports_all_that_a_trial_needs() -> None:
    spec = StudySpec(arms="relu", seeds=1, data={"train_size": 100}, model={"options": {"width": 4}})
    (*_, end) = LocalEngine(workers=1).run(spec, [TrialKey("relu", 0)])
    assert isinstance(end, Ended)
    assert end.record.status == "finished", end.record.error


class Lenient(InProcessEngine):
    """Runs trials without those that would end this process, and changes one bit of a record."""

    @contextmanager
    def open(self, spec: StudySpec, data: ImageData) -> Iterator[Session]:
        with super().open(spec, data) as session:
            yield Changing(session, self.change)

    def change(self, reports: Iterable[Report]) -> Iterable[Report]:
        for report in reports:
            yield Ended(replace(report.record, init_digest="0"), None) if isinstance(report, Ended) else report


class Changing(Session):
    def __init__(self, session: Session, change: Callable[[Iterable[Report]], Iterable[Report]]) -> None:
        self.session, self.change = session, change
        self.exiting = False

    def free(self, unended: int) -> int:
        return self.session.free(unended)

    def place(self, trial: TrialKey, attempt: int) -> None:
        self.exiting = trial.arm == "exits"
        self.session.place(replace(trial, arm="raises") if self.exiting else trial, attempt)

    def give_up(self, trial: TrialKey) -> None:
        self.session.give_up(trial)

    def reports(self, timeout: float | None = None) -> Iterable[Report]:
        for report in self.change(self.session.reports(timeout)):
            if not self.exiting:
                yield report
            elif isinstance(report, Ended):
                yield Ended(replace(report.record, arm="exits"), None)
            else:
                yield replace(report, trial=TrialKey("exits", 0))


def test_a_record_that_differs_is_found() -> None:
    with pytest.raises(AssertionError, match=r"the record of TrialKey\(arm='relu', seed=0, cell=''\) differs"):
        check_engine(Lenient)


class Silent(Lenient):
    """Sends no event when a trial begins."""

    def change(self, reports: Iterable[Report]) -> Iterable[Report]:
        return (report for report in reports if isinstance(report, Ended))


def test_an_engine_without_events_is_detected() -> None:
    with pytest.raises(AssertionError, match="0 first attempts of 7 trials"):
        check_engine(Silent)
