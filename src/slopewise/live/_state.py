"""What a run is doing, told from what it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["running", "stalled", "stopped", "ended"]
STATES: Sequence[State] = ("running", "stalled", "stopped", "ended")  # in the order of a listing

_PATIENCE, _TIMES, _UNKNOWN = 60.0, 5.0, 600.0  # seconds; times its usual pause; seconds where that is not known


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the listing.

    Attributes:
        kind: "study" or "loop".
        title: what its user calls it; may be empty.
        state: "stopped" is a study that nobody works on, though it lacks trials.
        changed: when something happened last, in seconds since 1970; None if that is not known.
        progress: how far it is, in words.
        alarms: how many, in words; empty if none.
    """

    kind: Literal["study", "loop"]
    title: str
    state: State
    changed: float | None
    progress: str
    alarms: str = ""


def stalled(silent: float, usual: float | None) -> bool:
    """Whether a run that should go on has been silent for too long.

    Args:
        silent: seconds since something happened.
        usual: seconds from one thing that happens to the next; None before that is known.

    Example:
        >>> stalled(90.0, 1.0), stalled(90.0, 60.0), stalled(90.0, None)
        (True, False, False)
    """
    return silent > (_UNKNOWN if usual is None else max(_PATIENCE, _TIMES * usual))
