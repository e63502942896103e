"""Study, followed through its store and the file of its driver, which is never made to wait."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from pathlib import Path
from time import monotonic

from slopewise.drawing import count
from slopewise.errors import StoreError
from slopewise.live._state import State, Summary, stalled
from slopewise.records import StudyRecord
from slopewise.report import StudyInfo, study_info, study_title
from slopewise.study import Running, RunningTrial, holds_study, last_change, load_study, read_running

_REPORT = "report.html"  # as the commands name it
_REST, _MOST_REST = 9.0, 60.0  # times what reading took before it is read again, and seconds


def report_of(folder: Path) -> Path | None:
    """Return the path of the report that a run has left in the folder of a study; None if there is none."""
    path = folder / _REPORT
    return path if path.is_file() and not path.is_symlink() else None


class Study:
    """Results of the study in a folder so far, and its present state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: StudyRecord | None = None  # before the driver has made its store
        self.running: Running | None = None
        self.error = ""
        self.report = False  # True if there is a report
        self.behind = 0  # whether the store has more than was read
        self._stored: tuple[tuple[int, int], ...] | None = None
        self._cost, self._read = 0.0, -float("inf")

    def update(self, seconds: float = 1.0) -> None:  # noqa: ARG002 - a study is read whole
        """Read what is new. The longer a store takes to read, the less often it is read."""
        self.running = read_running(self.folder)
        self.report = report_of(self.folder) is not None
        try:
            changed = last_change(self.folder)
            self.behind = int(changed != self._stored and holds_study(self.folder))
        except OSError as error:
            self.error = f"cannot read the store in '{self.folder}': {error.strerror}"
            return
        except StoreError as error:
            self.error = str(error)
            return
        start = monotonic()
        if not self.behind or start < self._read + min(_REST * self._cost, _MOST_REST):
            return
        try:
            self.record, self.error = load_study(self.folder).record, ""
        except (StoreError, OSError) as error:
            self.error = str(error)
        self.__dict__.pop("info", None)
        self._stored, self.behind = changed, 0
        first = self._read < 0
        self._read = monotonic()
        self._cost = 0.0 if first else self._read - start  # the first loads what all others find loaded

    @cached_property
    def info(self) -> StudyInfo | None:
        """Facts about the study so far, with its analysis; None before there is a record."""
        return study_info(self.record) if self.record else None

    @property
    def key(self) -> Hashable:
        """Value that changes with everything that a page shows."""
        return (self._stored, self.running and (self.running.started, self.running.changed), self.error, self.report)

    @property
    def ended(self) -> int:
        """Number of finished and failed trials, in all cells."""
        return len(self.record.every_trial) if self.record else 0

    @property
    def planned(self) -> int:
        """Number of trials in the plan, without the trials of decided arms that will not run."""
        if not self.record:
            return 0
        own = self.info.planned if self.record.looks and self.info else len(self.record.arms) * len(self.record.seeds)
        cells = self.record.cells
        others = {(arm, seed, cell.key) for cell in cells for seed in cell.seeds for arm in cell.arms}
        return own + len(others)

    @property
    def most(self) -> bool:
        """True if later looks may remove some of the planned trials."""
        return bool(self.record and self.record.looks and self.info and self.info.most)

    @property
    def trials(self) -> tuple[RunningTrial, ...]:
        """Trials that are running."""
        ended = {(trial.arm, trial.seed, trial.cell) for trial in (self.record.every_trial if self.record else ())}
        return tuple(t for t in (self.running.trials if self.running else ()) if (t.arm, t.seed, t.cell) not in ended)

    @property
    def changed(self) -> float | None:
        """Time of the latest event."""
        stored = [time / 1e9 for time, _ in self._stored or () if time]
        return max([*stored, *([self.running.changed] if self.running else [])], default=None)

    def state(self, now: float) -> State:
        """Return the state of the study."""
        if self.running and not self.running.stale(now):
            return "stalled" if stalled(now - self.running.changed, self._usual()) else "running"
        if self.record and self.ended >= self.planned:
            return "ended"
        if self.running is None:
            return "running" if self.behind else "stopped"  # it may have ended: the store will tell
        return "stalled"

    def _usual(self) -> float | None:
        """Return the largest known number of seconds of an epoch."""
        running = self.running.usual if self.running else None
        epochs = [] if running is None else [running]
        epochs += [
            trial.seconds / max(len(trial.columns("epochs", "epoch")[0]) - 1, 1)
            for trial in (self.record.trials if self.record else ())
            if trial.seconds is not None
        ]
        return max(epochs, default=None)

    def summary(self, now: float) -> Summary:
        """Return the study's row of the listing."""
        if self.record is None:
            words = "cannot be read" if self.error else "no trial yet"
            return Summary("study", "", self.state(now), self.changed, words)
        failed = sum(trial.status == "failed" for trial in self.record.every_trial)
        diverged = sum(trial.diverged for trial in self.record.every_trial)
        counts = {"diverged": diverged, "failed": failed, "damaged": len(self.record.damaged)}
        alarms = [f"{n} {words}" for words, n in counts.items() if n]
        return Summary(
            "study",
            study_title(self.record),
            self.state(now),
            self.changed,
            f"{self.ended} of {'at most ' if self.most else ''}{count(self.planned, 'trial')}",
            ", ".join(alarms),
        )
