"""State of a study's driver, in a small file beside the store, for programs that watch the folder.

The store holds the trials that have ended, `running.json` the running ones. The file is replaced as a whole, at most
four times a second, and rewritten every few seconds even if nothing happens. A driver that is killed leaves the file
behind. On the same machine this is detected at once, because the file names the process; on another machine, a file
that has not been rewritten for longer counts as left behind. Faults of the file never stop the study.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event, Lock, Thread

from slopewise import events
from slopewise.errors import SlopewiseWarning
from slopewise.study._origin import Origin, has_ended, moved, origin

FILE = "running.json"
_UNFINISHED = f".{FILE}"
_EVERY, _BEAT = 0.25, 5.0  # seconds
STALE = 4 * _BEAT


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """Running trial. `epoch` is None and `scores` (on the validation part) empty before its first epoch has ended."""

    arm: str
    seed: int
    attempt: int
    started: float
    changed: float
    epoch: int | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    cell: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """State of a driver. All times are in seconds since 1970.

    Attributes:
        pid: Number of the driver's process.
        started: Time of the driver's start.
        changed: Time of the latest event.
        time: Time at which the file was written.
        trials: Running trials.
        origin: Place and time that `pid` belongs to; None in files of earlier versions.
    """

    pid: int
    started: float
    changed: float
    time: float
    trials: tuple[RunningTrial, ...] = ()
    origin: Origin | None = None

    @property
    def usual(self) -> float | None:
        """Seconds that an epoch of its trials takes at most; None before one has ended."""
        return max(((t.changed - t.started) / t.epoch for t in self.trials if t.epoch), default=None)

    def stale(self, now: float) -> bool:
        """Return True if the file is so old that its driver has ended, or has slept for a while."""
        return now - self.time > STALE

    def gone(self, now: float) -> bool:
        """Return True if its driver is known to have ended."""
        if self.origin is None:
            return False
        return has_ended(self.pid, self.origin) or (moved(self.origin) and self.stale(now))

    def after(self, event: events.TrialEvent, now: float) -> Running:
        """Return the state after an event."""
        trial = event.record if isinstance(event, events.Ended) else event.trial
        key = (trial.arm, trial.seed, trial.cell)
        trials = {(running.arm, running.seed, running.cell): running for running in self.trials}
        before = trials.pop(key, None)
        if isinstance(event, events.Started):
            trials[key] = RunningTrial(trial.arm, trial.seed, event.attempt, now, now, cell=trial.cell)
        elif isinstance(event, events.Epoch) and before:
            scores = {row.metric: row.value for row in event.scores if row.part == "validation"}
            trials[key] = replace(before, changed=now, epoch=event.record.epoch, scores=scores)
        return replace(self, changed=now, trials=tuple(trials.values()))


def read_running(folder: str | os.PathLike[str]) -> Running | None:
    """Return the state of the driver in a folder; None if none runs there, or the file cannot be read.

    Example:
        >>> read_running("no/such/folder") is None
        True
    """
    try:
        fields = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
        trials = tuple(RunningTrial(**trial) for trial in fields["trials"])
        origin = fields.get("origin") and Origin(**fields["origin"])
        running = Running(**{**fields, "trials": trials, "origin": origin})
        return None if running.gone(time.time()) else running
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def clear(folder: Path) -> None:
    """Remove the files that a driver has left behind. The caller must hold the folder's lock."""
    for path in (folder / FILE, folder / _UNFINISHED):
        try:
            path.unlink(missing_ok=True)
        except OSError:  # an empty file counts as none
            with suppress(OSError):
                path.write_bytes(b"")


class StateFile(AbstractContextManager["StateFile"]):
    """Context manager that keeps the file up to date from a thread of its own, and removes it at the end.

    If the file cannot be written, one warning is issued.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        now = time.time()
        self._now, self._news = Running(os.getpid(), now, now, now, origin=origin()), True
        self._lock, self._over, self._warned = Lock(), Event(), False
        self._thread = Thread(target=self._keep, name="slopewise-running", daemon=True)

    def __enter__(self) -> StateFile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        clear(self.path.parent)

    def add(self, event: events.TrialEvent) -> None:
        """Add an event to the state."""
        with self._lock:
            self._now, self._news = self._now.after(event, time.time()), True

    def _keep(self) -> None:
        while True:
            if text := self._due():
                self._write(text)
            if self._over.wait(_EVERY):
                return

    def _due(self) -> str:
        """Return the text to write now; "" if the file is up to date."""
        with self._lock:
            now = time.time()
            if not self._news and 0 <= now - self._now.time < _BEAT:  # clocks are set back, too
                return ""
            self._now, self._news = replace(self._now, time=now), False
            return json.dumps(asdict(self._now))

    def _write(self, text: str) -> None:
        unfinished = self.path.with_name(_UNFINISHED)
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"cannot write '{self.path}' ({error.strerror}): `slopewise watch` will not see what runs; the "
                    "study goes on",
                    SlopewiseWarning,
                    stacklevel=1,
                )
