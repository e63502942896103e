"""Events of a running study: the language between engines, the driver and the display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slopewise.records import EpochRecord, TrialRecord


@dataclass(frozen=True)
class TrialKey:
    """One trial of a plan."""

    arm: str
    seed: int


@dataclass(frozen=True)
class Reading:
    """The driver is reading data: `done` of `total` items; `what` is their plural noun, as in "training images"."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Prepared:
    """The data are read and every arm has been rehearsed: trials can begin.

    Attributes:
        facts: Facts of the data, the model and the checkpoint, as `StudyRecord.data` keeps them.
        spec: The spec as plain data.
        augmentation: Pixels of shift, whether to mirror, and the probability of erasing, as resolved for the data.
        trials: Number of trials to run now.
        side_by_side: Number of trials that run at a time.
        seconds_per_step: Time of a training step of the control, measured here; None where it could not be.
        unknown_pace: Reason for which no step could be timed, if one is known.
        idle: Accelerator that is there and that the spec leaves unused; None where there is none.
    """

    facts: dict[str, Any]
    spec: dict[str, Any]
    augmentation: dict[str, Any]
    trials: int
    side_by_side: int
    seconds_per_step: float | None = None
    unknown_pace: str | None = None
    idle: str | None = None


@dataclass(frozen=True)
class Started:
    """A trial has begun; `attempt` is 1, or 2 after a failure."""

    trial: TrialKey
    attempt: int


@dataclass(frozen=True)
class Epoch:
    """A trial has finished an epoch."""

    trial: TrialKey
    record: EpochRecord


@dataclass(frozen=True)
class Ended:
    """A trial has ended; `environment` holds the facts that `record.environment` is the digest of."""

    record: TrialRecord
    environment: dict[str, Any] | None


TrialEvent = Started | Epoch | Ended
"""Events of an engine."""
Event = Reading | Prepared | TrialEvent
"""Events of a study: reading of its images, one `Prepared`, then the events of its engine."""
