"""The rules that come with slopewise, one file each. A new file in this folder is a new alarm.

A file here imports `alarms._base`, `alarms._past` and `recording._sample` themselves: the public names of `recording`
import this folder. Rules share pairs of thresholds in `_shared.py`; each has a `rank` of its own, which orders alarms.
"""

from __future__ import annotations

from typing import Any

from slopewise.recording.alarms._base import AlarmRule
from slopewise.support import distinct, shipped_classes


def shipped() -> tuple[AlarmRule[Any], ...]:
    """Return the rules of this folder with their default thresholds, the most serious first."""
    classes: list[type[AlarmRule[Any]]] = shipped_classes(__name__, __path__, AlarmRule)
    distinct(classes, "id")
    return tuple(sorted((rule() for rule in classes), key=lambda rule: rule.rank))
