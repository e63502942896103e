"""What an engine tells while trials run: the language between engines, the driver and the display."""

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


Event = Started | Epoch | Ended
