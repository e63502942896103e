"""State of a run, inferred from the files that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["running", "stalled", "stopped", "ended"]
STATES: Sequence[State] = ("running", "stalled", "stopped", "ended")  # in the order of a listing

_PATIENCE, _TIMES, _UNKNOWN = 60.0, 5.0, 600.0  # seconds; times its usual pause; seconds where that is not known


@dataclass(frozen=True, slots=True)
class Summary:
    """Row of the listing.

    Attributes:
        kind: Kind of the run, "study" or "loop".
        title: Title that the user gave; may be empty.
        state: State of the run; a "stopped" study lacks trials, and no driver is at work on it.
        changed: Time of the latest event, in seconds since 1970; None if it is unknown.
        progress: Progress in words.
        alarms: Number of alarms in words; empty if there are none.
    """

    kind: Literal["study", "loop"]
    title: str
    state: State
    changed: float | None
    progress: str
    alarms: str = ""


def stalled(silent: float, usual: float | None) -> bool:
    """Return True if a run that should go on has been silent for too long.

    Args:
        silent: Seconds since the latest event.
        usual: Usual number of seconds between two events; None before it is known.

    Example:
        >>> stalled(90.0, 1.0), stalled(90.0, 60.0), stalled(90.0, None)
        (True, False, False)
    """
    return silent > (_UNKNOWN if usual is None else max(_PATIENCE, _TIMES * usual))
