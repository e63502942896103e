"""The rules that come with slopewise, one file each. A new file in this folder is a new alarm.

A file here imports `alarms._base`, `alarms._past` and `recording._sample` themselves: the public names of `recording`
import this folder. Rules share pairs of thresholds in `_shared.py`; each has a `rank` of its own, which orders alarms.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from slopewise.recording.alarms._base import AlarmRule


def shipped() -> tuple[AlarmRule[Any], ...]:
    """Return the rules of this folder with their default thresholds, the most serious first."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, AlarmRule)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    by_id: dict[str, type[AlarmRule[Any]]] = {}
    for rule in classes:
        if (other := by_id.setdefault(rule.id, rule)) is not rule:
            raise ValueError(f"two rules have the id '{rule.id}': {other.__module__} and {rule.__module__}; rename one")
    return tuple(sorted((rule() for rule in classes), key=lambda rule: rule.rank))
