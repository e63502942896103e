"""Durations on the command line."""

from __future__ import annotations

import math
import re

import typer

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> float:
    """Return the seconds of a duration: a number of seconds, or a number with s, m, h or d.

    Raises:
        typer.BadParameter: The text is neither.

    Example:
        >>> duration("90"), duration("5m"), duration("1.5 h"), duration("0")
        (90.0, 300.0, 5400.0, 0.0)
    """
    parts = re.fullmatch(r"(\d{1,15}(?:\.\d{0,15})?)\s*([smhd]?)", text.strip().lower(), re.ASCII)
    if parts is None:
        raise typer.BadParameter(f"'{text:.40}' is no duration: write seconds, as in 90, or 90s, 5m, 1.5h")
    seconds = float(parts[1]) * _SECONDS[parts[2]]
    return seconds if math.isfinite(seconds) else math.inf
