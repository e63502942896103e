"""What the driver of a study does now: a small file beside the store, for whoever watches the folder.

The store holds the trials that have ended, `running.json` those that have not. It is replaced as a whole, at most four
times a second, and rewritten every few seconds even if nothing happens: one that has not been touched for longer was
left behind by a driver that was killed. Whatever becomes of it, the study goes on.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread

from slopewise import events
from slopewise.errors import SlopewiseWarning

FILE = "running.json"
_EVERY, _BEAT = 0.25, 5.0  # seconds
STALE = 4 * _BEAT


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial that runs. `epoch` and `accuracy` (validation, 0..1) are None before its first epoch has ended."""

    arm: str
    seed: int
    attempt: int
    started: float
    changed: float
    epoch: int | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """What a driver does. Times are seconds since 1970: of its start, of the latest event, of the file itself."""

    pid: int
    started: float
    changed: float
    time: float
    trials: tuple[RunningTrial, ...] = ()

    def stale(self, now: float) -> bool:
        """Whether its driver is gone, or has slept for a while."""
        return now - self.time > STALE

    def after(self, event: events.TrialEvent, now: float) -> Running:
        """What is running once this has happened."""
        if isinstance(event, events.Ended):
            arm, seed = event.record.arm, event.record.seed
        else:
            arm, seed = event.trial.arm, event.trial.seed
        trials = {(trial.arm, trial.seed): trial for trial in self.trials}
        before = trials.pop((arm, seed), None)
        if isinstance(event, events.Started):
            trials[arm, seed] = RunningTrial(arm, seed, event.attempt, now, now)
        elif isinstance(event, events.Epoch) and before:
            found = event.record
            trials[arm, seed] = replace(before, changed=now, epoch=found.epoch, accuracy=found.validation_accuracy)
        return replace(self, changed=now, trials=tuple(trials.values()))


def read_running(folder: str | os.PathLike[str]) -> Running | None:
    """What the driver in a folder does; None where there is none, or no telling.

    Example:
        >>> read_running("no/such/folder") is None
        True
    """
    try:
        found = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
        return Running(**{**found, "trials": tuple(RunningTrial(**trial) for trial in found["trials"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Telling(AbstractContextManager["Telling"]):
    """Keeps the file while it is open, from a thread of its own; removes it at the end.

    A file that cannot be written is warned of once.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        now = time.time()
        self._now, self._news = Running(os.getpid(), now, now, now), True
        self._lock, self._over, self._warned = Lock(), Event(), False
        self._thread = Thread(target=self._keep, name="slopewise-running", daemon=True)

    def __enter__(self) -> Telling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def tell(self, event: events.TrialEvent) -> None:
        """Take note of an event."""
        with self._lock:
            self._now, self._news = self._now.after(event, time.time()), True

    def _keep(self) -> None:
        while True:
            if text := self._due():
                self._write(text)
            if self._over.wait(_EVERY):
                return

    def _due(self) -> str:
        """What to write now; empty if the file says it already."""
        with self._lock:
            now = time.time()
            if not self._news and 0 <= now - self._now.time < _BEAT:  # clocks are set back, too
                return ""
            self._now, self._news = replace(self._now, time=now), False
            return json.dumps(asdict(self._now))

    def _write(self, text: str) -> None:
        unfinished = self.path.with_name(f".{FILE}")
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
