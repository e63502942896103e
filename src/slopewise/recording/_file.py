"""Recordings for `slopewise inspect`: recognised by their content, and shown as one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slopewise.recording._recording import FORMAT, Recording, to_line

_FIRST = 65536  # bytes of the first line that are read; a header has a few hundred


def is_recording(path: Path) -> bool:
    """Return True if a file is a recording: its first line is a header, or its suffix is ".jsonl".

    A file that cannot be read counts as none; the error comes from whoever reads it next.

    Example:
        >>> is_recording(Path("absent.jsonl")), is_recording(Path("last.ckpt"))
        (True, False)
    """
    return path.suffix == ".jsonl" or has_header(path)


def has_header(path: Path) -> bool:
    """Return True if the first line of a file is the header of a recording; False for a file that cannot be read.

    Example:
        >>> has_header(Path("absent.jsonl"))
        False
    """
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(_FIRST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("format") == FORMAT


def recording_json(recording: Recording) -> dict[str, Any]:
    """Return plain data for any strict JSON parser: facts about the run, its alarms with advice, and its latest sample.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> plain = recording_json(synthetic_recording(layers=2))
        >>> plain["alarms"], plain["raised"][0]["id"], plain["latest"]["step"]
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
    """Return an item as its line has it: NaN and infinities are null."""
    *_, fields = json.loads(to_line(item)).values()
    return dict(fields)
