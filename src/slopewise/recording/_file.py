"""A recording of the monitor, as `slopewise inspect` meets it: told by its content, and as one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slopewise.recording._recording import FORMAT, Recording, to_line

_FIRST = 65536  # bytes of the line to tell it by; a header has a few hundred


def is_recording(path: Path) -> bool:
    """Whether a file is a recording: its first line is a header, or its suffix says that it shall be one.

    What cannot be read is none; whoever reads it then says why.

    Example:
        >>> is_recording(Path("absent.jsonl")), is_recording(Path("last.ckpt"))
        (True, False)
    """
    if path.suffix == ".jsonl":
        return True
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline(_FIRST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


def recording_json(recording: Recording) -> dict[str, Any]:
    """Plain data for any strict JSON parser: what is known of the run, its alarms with advice, and its latest sample.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> found = recording_json(synthetic_recording(layers=2))
        >>> found["alarms"], found["raised"][0]["id"], found["latest"]["step"]
        (1, 'dead-units', 951)
    """
    header, *samples = map(_plain, (recording.header, *recording.samples[-1:]))
    return {
        "header": header,
        "samples": len(recording.samples),
        "alarms": len(recording.alarms),
        "raised": [{**_plain(alarm), "advice": alarm.advice} for alarm in recording.alarms],
        "latest": samples[0] if samples else None,
        "end": _plain(recording.end) if recording.end else None,
    }


def _plain(item: Any) -> dict[str, Any]:
    """An item as its line has it, where NaN and infinities are null."""
    *_, fields = json.loads(to_line(item)).values()
    return dict(fields)
