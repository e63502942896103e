"""A recording as a file: JSON Lines, one item a line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TextIO

import torch.distributed

from slopewise.errors import SlopewiseError
from slopewise.monitor.sinks._base import Sink
from slopewise.recording import Alarm, End, Header, Sample, to_line

Mode = Literal["x", "w", "a"]


class JsonLines(Sink):
    """Writes a recording as the run goes; `slopewise.monitor.read_recording` reads it, also while it grows.

    A line is a header, a sample, an alarm or the end. It is handed to the operating system before training goes on, so
    that no line is lost if the process dies. Missing folders are made when the first line is written.

    Args:
        path: Path of the file.
        mode: Treatment of a file that exists and is not empty, as for `open`: "x" raises an error, "w" replaces it, "a"
            appends the run (readers take the last run of a file; an incomplete last line is removed first).

    Raises:
        SlopewiseError: The file exists and `mode` is "x".
        ValueError: `mode` is another one.

    Example:
        >>> import tempfile
        >>> from slopewise.recording._recording import Header, read_recording
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = JsonLines(f"{folder}/runs/first.jsonl")
        ...     sink.start(Header("ResNet", every=50, started=0.0))
        ...     read_recording(f"{folder}/runs/first.jsonl").header.model
        ...     sink.close(End(step=0, seconds=0.0, overhead=0.0))
        'ResNet'
    """

    def __init__(self, path: str | os.PathLike[str], *, mode: Mode = "x") -> None:
        if mode not in ("x", "w", "a"):
            raise ValueError(f"mode must be 'x', 'w' or 'a', got {mode!r}")
        self.path = Path(path)
        self._mode: Mode = mode
        self._file: TextIO | None = None
        # Rank 0 may be writing already when the others get here.
        if mode == "x" and not _another_rank() and self.path.exists() and self.path.stat().st_size:
            raise SlopewiseError(
                f"'{self.path}' exists: take another name, or replace it with mode='w', or add a run with mode='a'"
            )

    def start(self, header: Header) -> None:
        """Open the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._mode == "a":
            _complete(self.path)
        self._file = self.path.open("w" if self._mode == "w" else "a", encoding="utf-8")
        self._mode = "a"  # started again, it adds to its own file
        self._write(header)

    def sample(self, sample: Sample) -> None:
        """Write a line."""
        self._write(sample)

    def alarm(self, alarm: Alarm) -> None:
        """Write a line."""
        self._write(alarm)

    def close(self, end: End) -> None:
        """Write the last line and close the file."""
        if self._file is not None:
            with self._file:
                self._write(end)
            self._file = None

    def _write(self, item: Header | Sample | Alarm | End) -> None:
        if self._file is None:
            raise RuntimeError("start() comes before all else")
        self._file.write(to_line(item) + "\n")
        self._file.flush()


def _another_rank() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank() > 0


def _complete(path: Path) -> None:
    """Cut a file back to its last whole line: an incomplete one in the middle of a file could not be read."""
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
