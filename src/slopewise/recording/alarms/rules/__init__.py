"""The rules that come with slopewise, one file each. A new file in this folder is a new alarm."""

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
    return tuple(sorted((rule() for rule in classes), key=lambda rule: rule.rank))
