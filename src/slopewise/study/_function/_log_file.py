"""Logged values of a trial in its folder, where a later attempt at the trial finds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

_WATCHED = "monitored steps"  # with a space, which no name of a value has


class LogFile:
    """File with a line for each call of `TrialContext.log`, written before the call returns.

    A function that resumes from a checkpoint of its own logs only what is left to do. What it logged before stands in
    this file, so that the learning curves of an interrupted trial have no gap.

    Args:
        path: The file; made at the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, step: int, watched: int, values: Mapping[str, float]) -> None:
        """Add a line; `watched` is the number of steps that the monitor has seen."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, _WATCHED: watched, **values}) + "\n")

    def keep_before(self, step: int) -> list[tuple[int, int, dict[str, float]]]:
        """Return the lines of earlier attempts up to the step, without it, and remove all others from the file."""
        lines = [line for line in self._lines() if line[0] < step]
        self._path.unlink(missing_ok=True)
        for line in lines:
            self.append(*line)
        return lines

    def _lines(self) -> Iterator[tuple[int, int, dict[str, float]]]:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
            except ValueError:  # the process was killed while it wrote
                return
            yield values.pop("step"), values.pop(_WATCHED, 0), values
