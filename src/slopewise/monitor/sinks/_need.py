"""Libraries that a sink takes its data to, imported when one is made."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str, *, what: str, extra: str = "trackers") -> Any:
    """A module of an extra, or an error that says which.

    Example:
        >>> need("slopewise_elsewhere", what="sinks.Elsewhere")
        Traceback (most recent call last):
        ModuleNotFoundError: sinks.Elsewhere needs 'slopewise_elsewhere': pip install 'slopewise[trackers]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("slopewise."):
            raise
        message = f"{what} needs '{error.name}': pip install 'slopewise[{extra}]'"
        raise ModuleNotFoundError(message, name=error.name) from error
