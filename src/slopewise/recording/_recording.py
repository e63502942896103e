"""A watched run as data, which the monitor keeps, sinks receive, files hold and reports draw; and its file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slopewise.errors import SlopewiseError
from slopewise.recording._plain import from_plain, to_plain
from slopewise.recording._sample import Sample
from slopewise.recording.alarms import ALARM_IDS, Alarm
from slopewise.support import shortened

FORMAT, VERSION = "slopewise-monitor", 1


@dataclass(frozen=True, slots=True)
class Header:
    """Facts known when watching begins.

    Attributes:
        model: Name of the model's class.
        every: Number of optimizer steps per sampled step.
        started: Time of the start, in seconds since 1970.
        name: Name of the run, given by the user; may be empty.
    """

    model: str
    every: int
    started: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """Facts known when watching ends.

    Attributes:
        step: Number of optimizer steps taken.
        seconds: Seconds since watching began.
        overhead: Seconds of these that measuring took.
        notes: Sentences about parts of the model that could not be seen, with the reason.
        error: Type and message of the exception that ended the run; empty if none did.
    """

    step: int
    seconds: float
    overhead: float
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A run so far; `end` is None while it runs, and for good if its process was killed."""

    header: Header
    samples: tuple[Sample, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    end: End | None = None


_LINES: Mapping[str, type] = {"header": Header, "sample": Sample, "alarm": Alarm, "end": End}


def to_line(item: Header | Sample | Alarm | End) -> str:
    """Return an item as one line of a JSON Lines file, for any strict JSON parser: NaN and infinities are null.

    Example:
        >>> to_line(Alarm("slope-stuck", "act1", 50, 1, "all 16 at 0.25"))
        '{"alarm": {"id": "slope-stuck", "where": "act1", "step": 50, "since": 1, "evidence": "all 16 at 0.25"}}'
    """
    kind = next(kind for kind, cls in _LINES.items() if isinstance(item, cls))
    values = _strict(to_plain(item))
    if isinstance(item, Alarm) and item.id in ALARM_IDS:
        del values["advice"]  # every reader knows it; that of a program's own rule goes with the alarm
    start = {"format": FORMAT, "version": VERSION} if kind == "header" else {}
    return json.dumps({**start, kind: values}, allow_nan=False)


def from_line(line: str) -> Header | Sample | Alarm | End:
    """Return the item that `to_line` wrote.

    Raises:
        ValueError: The line holds something else.
    """
    try:
        values = json.loads(line)
        for kind, cls in _LINES.items() if isinstance(values, dict) else ():
            if kind in values:
                return from_plain(cls, values[kind])  # type: ignore[no-any-return]
    except (TypeError, RecursionError) as error:  # fields are missing; lists in lists without end
        raise ValueError(str(error)) from error
    raise ValueError("neither a header, a sample, an alarm nor an end")


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """Read a recording from a file that `JsonLines` wrote, of a finished run or of one that goes on.

    A last line that is cut short is left out: its writer is at work, or was killed in the middle of it.

    Args:
        path: File with the recording.

    Raises:
        SlopewiseError: The file cannot be read, or is no recording; the message names the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SlopewiseError(f"cannot read '{path}': {error}") from error
    *lines, cut = text.split("\n")
    recording: Recording | None = None
    for number, line in enumerate([*lines, *([cut] if cut else [])], start=1):
        try:
            item = from_line(line)
        except ValueError as error:
            if number > len(lines):
                break
            raise SlopewiseError(
                f"'{path}', line {number}: not of a recording by slopewise.Monitor: {shortened(str(error), 200)}"
            ) from error
        recording = _added(recording, item, path)
    if recording is None:
        raise SlopewiseError(f"'{path}' is empty: slopewise.Monitor writes its first line when it starts")
    return recording


def _added(recording: Recording | None, item: Header | Sample | Alarm | End, path: Path) -> Recording:
    if isinstance(item, Header):  # a second header begins another run in the same file: the latest run counts
        return Recording(item)
    if recording is None:
        raise SlopewiseError(f"'{path}' is no recording by slopewise.Monitor: its first line is no header")
    if isinstance(item, End):
        return replace(recording, end=item)
    if isinstance(item, Alarm):
        return replace(recording, alarms=(*recording.alarms, item))
    return replace(recording, samples=(*recording.samples, item))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
