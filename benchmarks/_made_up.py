"""Trials that were never trained, in the size of real ones, for the driver of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from slopewise.events import Ended, TrialKey
from slopewise.records import AlarmRecord, TrialRecord
from slopewise.study.engines import Begun, Engine, Session
from slopewise.testing import synthetic_study

ARMS = ("relu", "leaky_relu", "elu", "prelu_shared", "prelu_channel")
EPOCHS, POOL = 50, 20  # POOL: seeds whose records are made up; the others repeat them with scores of their own


class Recorded(Engine):
    """Engine whose trials have ended before they begin."""

    def capacity(self, spec: Any) -> int:  # noqa: ARG002 - the signature of engines
        """Return 2."""
        return 2

    @contextmanager
    def open(self, spec: Any, data: Any) -> Iterator[Session]:  # noqa: ARG002
        """Return a session that reports a record for every trial that is placed."""
        yield _Session()


class _Session(Session):
    def __init__(self) -> None:
        self._placed: list[TrialKey] = []

    def free(self, unended: int) -> int:  # noqa: ARG002
        return 2 - len(self._placed)

    def place(self, trial: TrialKey, attempt: int) -> None:  # noqa: ARG002
        self._placed.append(trial)

    def reports(self, timeout: float | None = None) -> Sequence[Begun | Ended]:  # noqa: ARG002
        trials, self._placed = self._placed, []
        return [
            report
            for trial in trials
            for report in (Begun(trial), Ended(record_of(trial), {"cpu": "none", "platform": "made up"}))
        ]

    def give_up(self, trial: TrialKey) -> None:
        """Do nothing: no trial is ever at work."""


@cache
def made_up(seed: int) -> dict[str, TrialRecord]:
    """Return the records of all arms with one seed of the pool."""
    rng = np.random.default_rng(seed)
    trials = {}
    for trial in synthetic_study(ARMS, 1, epochs=EPOCHS, seed=seed).trials:
        sites = [
            replace(
                site,
                never_positive=float(rng.beta(1, 9)),
                zero_gradient=float(rng.beta(1, 9)),
                always_positive=float(rng.beta(1, 9)),
                positive=float(rng.random()),
                pass_through=float(rng.random()),
            )
            for site in trial.sites
        ]
        alarm = AlarmRecord("dead-units", "act3", 40, 20, "12 of 32 units were never positive from step 20 to 40")
        trials[trial.arm] = replace(trial, sites=tuple(sites), alarms=(alarm,) * (seed % 3 == 0))
    return trials


def record_of(trial: TrialKey) -> TrialRecord:
    """Return a record with a test accuracy of its own, and the digests that pair the arms of a seed."""
    record = made_up(trial.seed % POOL)[trial.arm]
    rng = np.random.default_rng([trial.seed, ARMS.index(trial.arm)])
    accuracy = min(1.0, 0.95 + 0.006 * float(rng.standard_normal()))
    own = (None, "test", "accuracy")
    scores = (replace(r, value=accuracy) if (r.epoch, r.part, r.metric) == own else r for r in record.scores)
    named = {"seed": trial.seed, "identity": f"{trial.arm} {trial.seed}", "environment": "made up"}
    return replace(record, scores=tuple(scores), **named)
