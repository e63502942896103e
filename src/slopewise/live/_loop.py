"""Watched loop, followed through the file of `slopewise.monitor`'s JSON Lines sink."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from time import monotonic

from slopewise.drawing import count
from slopewise.live._state import State, Summary, stalled
from slopewise.live._tail import Tail
from slopewise.recording import Alarm, End, Header, Recording, Sample, from_line

_SAMPLE = b'{"sample"'
_MOST = 1 << 20  # bytes that are read at a time


class Loop:
    """Recording of a loop, as far as its file goes.

    Only samples that are kept are parsed: every `stride`-th one and the latest. The stride doubles whenever
    twice `keep` of them are there, so that a file of any length needs bounded memory, and little time.

    Args:
        path: Path of the file.
        keep: Number of samples to keep; 0 if only the summary is needed.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path, self.keep = path, keep
        self._tail = Tail(path)
        self.error = ""
        self._changed = 0.0
        self._begin(None)

    def _begin(self, header: Header | None) -> None:
        self.header = header
        self.end: End | None = None
        self.alarms: list[Alarm] = []
        self.seen, self.stride, self._samples = 0, 1, list[Sample]()
        self._line = b""
        self._latest: Sample | None = None  # the last sample, parsed when it is asked for
        self.fault = ""  # the first line that is no recording's

    def update(self, seconds: float = 1.0) -> None:
        """Read what was written since the last call, for about `seconds` seconds; `behind` is what is left."""
        deadline = monotonic() + seconds
        self.error = ""
        try:
            while True:
                self._changed = self.path.stat().st_mtime
                new, lines = self._tail.read(_MOST)
                if new:
                    self._begin(None)
                for number, line in enumerate(lines, start=self._tail.line - len(lines) + 1):
                    self._take(number, line)
                if not self.behind or monotonic() > deadline:
                    return
        except OSError as error:
            self.error = f"cannot read '{self.path}': {error.strerror}"

    @property
    def behind(self) -> int:
        """Number of bytes that are still to be read."""
        return self._tail.behind

    @property
    def key(self) -> Hashable:
        """Value that changes with everything that a page shows."""
        return (self.header, self.seen, len(self.alarms), self.end, self.fault, self.error, self.behind)

    @property
    def recording(self) -> Recording | None:
        """Recording with the samples that are kept; None before there is a header."""
        if self.header is None:
            return None
        samples = self._samples
        if self.latest and not (samples and samples[-1] is self.latest):
            samples = [*samples, self.latest]
        return Recording(self.header, tuple(samples), tuple(self.alarms), self.end)

    def state(self, now: float) -> State:
        """Return the state of the loop, as far as its file shows it."""
        if self.end is not None:
            return "ended"
        begun = self.header.started if self.header else self._changed
        usual = max(self._changed - begun, 0.0) / self.seen if self.seen else None
        return "stalled" if stalled(now - self._changed, usual) else "running"

    def summary(self, now: float) -> Summary:
        """Return the loop's row of the listing."""
        step = self.end.step if self.end else self.latest.step if self.latest else None
        progress = "cannot be read" if self.error else "no step yet" if step is None else f"step {step}"
        if self.end and self.end.error:
            progress += ", ended by an error"
        if self.behind and not self.error:
            progress = f"{progress}, being read"
        return Summary(
            "loop",
            self.header.name or self.header.model if self.header else "",
            self.state(now),
            self._changed or None,
            progress,
            count(len(self.alarms), "alarm") if self.alarms else "",
        )

    def _take(self, number: int, line: bytes) -> None:
        try:
            if line.startswith(_SAMPLE):
                self._take_sample(line)
                return
            item = from_line(line.decode())
        except ValueError as error:
            self.fault = self.fault or f"line {number} is not of a recording: {error}"
            return
        if isinstance(item, Header):  # a later run that wrote to the same file
            self._begin(item)
        elif isinstance(item, Alarm):
            self.alarms.append(item)
        elif isinstance(item, End):
            self.end = item

    def _take_sample(self, line: bytes) -> None:
        self._line, self._latest = line, None
        if self.seen == 0 and self.keep:  # a long file is read thinly from its start
            while self._tail.behind > 2 * self.keep * self.stride * len(line):
                self.stride *= 2
        if self.keep and self.seen % self.stride == 0:
            self._latest = _sample(line)
            self._samples.append(self._latest)
            if len(self._samples) > 2 * self.keep:
                self.stride *= 2
                self._samples = self._samples[::2]
        self.seen += 1

    @property
    def latest(self) -> Sample | None:
        """Latest sample, kept or not."""
        if self._latest is None and self._line:
            try:
                self._latest = _sample(self._line)
            except ValueError as error:
                self.fault, self._line = self.fault or f"a sample cannot be read: {error}", b""
        return self._latest


def _sample(line: bytes) -> Sample:
    item = from_line(line.decode())
    if not isinstance(item, Sample):
        raise ValueError("no sample")
    return item
