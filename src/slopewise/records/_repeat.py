"""Repeats: a second record of a trial that is stored already, compared with the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from slopewise.records._trial import TrialRecord


@dataclass(frozen=True, slots=True)
class RepeatRecord:
    """Trial that was trained a second time, for instance by a driver that was thought lost. The first record counts.

    Attributes:
        arm: Name of the arm.
        seed: Seed.
        cell: Key of the cell; empty for the study's own settings.
        equal: True if both records agree bit by bit in all that `untimed` keeps.
        same_identity: True if both trials have the same `TrialRecord.identity`, so that they must agree.
    """

    arm: str
    seed: int
    cell: str
    equal: bool
    same_identity: bool


def untimed(record: TrialRecord) -> TrialRecord:
    """Return a record without times, attempts, environment and identity: the rest is equal in all runs on one machine.

    Example:
        >>> untimed(TrialRecord("relu", 0, "finished", attempts=2, seconds=3.5)).seconds is None
        True
    """
    epochs = tuple(replace(epoch, seconds_per_step=None) for epoch in record.epochs)
    others = ("seconds", "seconds_per_step", "monitor_seconds", "environment", "identity")
    fields: dict[str, Any] = dict.fromkeys(others)
    return replace(record, epochs=epochs, operator_costs=(), attempts=1, **fields)
