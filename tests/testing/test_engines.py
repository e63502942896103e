"""The kit for engines: the engine of the package passes, and one with faults does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from slopewise.events import Ended, TrialKey
from slopewise.study import StudySpec
from slopewise.study.data import ImageData
from slopewise.study.engines import Engine, LocalEngine, Report, Session, attempt
from slopewise.testing import check_engine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", [1, 3])
def test_the_local_engine_conforms(workers: int) -> None:
    check_engine(lambda: LocalEngine(workers=workers))


class InThisProcess(Engine, Session):
    """Runs trials in the driver's own process, without those that would end it, and changes one bit of a record."""

    def capacity(self, spec: StudySpec) -> int:
        return 1

    @contextmanager
    def open(self, spec: StudySpec, data: ImageData) -> Iterator[Session]:
        self.spec, self.data = spec, data
        yield self

    def free(self, unended: int) -> int:
        return 1

    def place(self, trial: TrialKey, attempt: int) -> None:
        self.trial = trial

    def reports(self) -> Iterator[Report]:
        reports: list[Report] = []
        arm = "raises" if self.trial.arm == "exits" else self.trial.arm
        ended = attempt(self.spec, replace(self.trial, arm=arm), self.data, reports.append)
        yield from (replace(report, trial=self.trial) for report in reports)
        yield Ended(replace(ended.record, arm=self.trial.arm, init_digest="0"), None)


def test_a_record_that_differs_is_found() -> None:
    with pytest.raises(AssertionError, match=r"the record of TrialKey\(arm='relu', seed=0\) differs"):
        check_engine(InThisProcess)


class Eager(InThisProcess):
    """Does not tell that trials begin."""

    def reports(self) -> Iterator[Report]:
        return (report for report in super().reports() if isinstance(report, Ended))


def test_an_engine_that_tells_nothing_is_found() -> None:
    with pytest.raises(AssertionError, match="0 first attempts of 6 trials"):
        check_engine(Eager)
