"""Progress of a running study: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from slopewise.drawing import count
from slopewise.events import Ended, Epoch, Event, Look, Prepared, Reading, Started, TrialKey, Tuned
from slopewise.records import MetricRecord, TrialRecord, metrics_in
from slopewise.report.study._looks import look_line
from slopewise.report.study._outlook import outlook
from slopewise.support import printable
from slopewise.support.terminal import print_line, words

_LINE_EVERY = 10.0  # seconds between plain lines


class StudyProgress:
    """Display of a running study: a context manager, called with each event.

    Args:
        trials: Trials to run.
        console: Console to draw on. If it is no terminal, lines are printed now and then instead.
        clock: Function that returns seconds, for the rate and the time left.
        folder: Folder of the study, which is named at its start; None names none.
    """

    def __init__(
        self,
        trials: tuple[TrialKey, ...],
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        folder: Path | None = None,
    ) -> None:
        self.folder = folder
        self.console, self.clock = console, clock
        self.planned = Counter(trial.arm for trial in trials)
        self.started = clock()
        self.most = False  # True if later looks may remove some of the trials
        self.finished, self.failed, self.diverged = Counter[str](), Counter[str](), Counter[str]()
        self.running: set[TrialKey] = set()
        self.waiting, self._known = set(trials), set(trials)
        self.latest: dict[str, dict[int, float]] = {}  # by arm and seed
        self._metric: MetricRecord | None = None  # known once the data are read
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._task = self._bar.add_task("trials", total=self.total, left="")
        self._stage = "reading the data, rehearsing every arm"  # until the first trial has ended
        self._epochs = 0
        self._reading = False
        self._images = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._images_task = self._images.add_task("")
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)
        self._next_line = self.started + _LINE_EVERY

    def __enter__(self) -> StudyProgress:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Update the display with an event."""
        if isinstance(event, Reading):
            self._read(event)
            return
        self._reading = False
        if isinstance(event, Prepared):
            self._metric = metrics_in(event.facts)[0]
            self._stage = "starting workers, which load PyTorch and the data"
            self.most = bool(event.spec.get("until_decided"))
            self._bar.update(self._task, description="trials, at most" if self.most else "trials")
            self._say(f"{outlook(event)}{f' Folder: {self.folder}.' if self.folder else ''}")
        elif isinstance(event, Tuned):
            self._say(f"tuned learning rates: {', '.join(f'{arm} {rate:g}' for arm, rate in event.rates)}")
        elif isinstance(event, Look):
            self._look(event)
        elif isinstance(event, Started):
            if not self.running and not self.done:
                self.started = self.clock()  # the rate must not include the start of the workers
            self._stage = "the first trials train"
            self.running.add(event.trial)
            self.waiting.discard(event.trial)
            if event.trial not in self._known:  # tuning has widened its range
                self._known.add(event.trial)
                self.planned[event.trial.arm] += 1
                self._bar.update(self._task, total=self.total)
            if event.attempt > 1:
                self._say(f"{_named(event.trial)}: failed, tried once more")
        elif isinstance(event, Epoch):
            self._epochs += 1
            self._note(event)
        elif isinstance(event, Ended):
            record = event.record
            self.running.discard(TrialKey(record.arm, record.seed, record.cell))
            (self.failed if record.status == "failed" else self.finished)[record.arm] += 1
            self.diverged[record.arm] += record.diverged
            if record.status == "failed":
                last = (record.error or "").strip().splitlines()[-1:]
                times = "failed twice" if record.attempts > 1 else "failed"
                self._say(f"{_named(record)}: {times}, recorded ({''.join(last)})")
            self._bar.update(self._task, completed=self.done, left=self._left())
        if not self.console.is_terminal and (self.clock() >= self._next_line or self.done == self.total):
            self._next_line = self.clock() + _LINE_EVERY
            self._say(self._line())

    def _look(self, look: Look) -> None:
        """Print what a look decided, and remove the trials of decided arms from the plan."""
        self._say(look_line(look))
        over = {arm for arm, _ in look.decided} if look.next else set(self.planned)
        removed = {trial for trial in self.waiting if trial.arm in over and not trial.cell}
        self.waiting -= removed
        self.planned -= Counter(trial.arm for trial in removed)
        self.most = look.next is not None
        self._bar.update(
            self._task, total=self.total, description="trials, at most" if self.most else "trials", left=self._left()
        )

    def _note(self, event: Epoch) -> None:
        """Keep the latest validation score of each trial under the study's own settings."""
        if not (metric := self._metric) or event.trial.cell:
            return
        scores = {row.metric: row.value for row in event.scores if row.part == "validation"}
        if (score := scores.get(metric.name)) is not None:
            self.latest.setdefault(event.trial.arm, {})[event.trial.seed] = score

    def _read(self, news: Reading) -> None:
        """Show the progress of reading images, which comes before the trials."""
        what = printable(f"reading {news.what}")
        if not self._reading or what != self._images.tasks[0].description:
            self._images.reset(self._images_task, total=news.total, description=what)
        self._reading = True
        self._images.update(self._images_task, completed=news.done)
        if not self.console.is_terminal and self.clock() >= self._next_line:
            self._next_line = self.clock() + _LINE_EVERY
            self._say(f"{what}: {news.done}/{news.total}")

    @property
    def total(self) -> int:
        """Number of trials of this run, as far as known."""
        return self.planned.total()

    @property
    def done(self) -> int:
        """Number of trials that have ended in this run."""
        return self.finished.total() + self.failed.total()

    def _say(self, line: str) -> None:
        print_line(line, self.console)

    def _left(self) -> str:
        elapsed = self.clock() - self.started
        if not self.done or elapsed <= 0:
            return ""
        rate = self.done / elapsed
        minutes, seconds = divmod(round((self.total - self.done) / rate), 60)
        return f"{60 * rate:.1f} trials/min, {'at most ' if self.most else ''}{minutes}:{seconds:02d} left"

    def _line(self) -> str:
        total = f" of at most {self.total}" if self.most else f"/{self.total}"
        counts = f"{self.done}{total} trials done, {len(self.running)} running, {self.failed.total()} failed"
        diverged = f", {self.diverged.total()} diverged" if self.diverged.total() else ""
        means = ", ".join(f"{arm} {self._mean(arm)}" for arm in self.planned if arm in self.latest)
        parts = [f"{counts}{diverged}", self._left(), means and f"{self._title}: {means}"]
        return "; ".join(part for part in parts if part)

    @property
    def _title(self) -> str:
        # No best value: the best of many epochs, or of the seeds so far, invites choosing before the verdict.
        return f"validation {self._metric.title} so far" if self._metric else "validation score so far"

    def _mean(self, arm: str) -> str:
        """Return the mean over an arm's seeds of their latest validation scores."""
        return (
            self._metric.shown(fmean(self.latest[arm].values()), fewer=1) if self._metric and arm in self.latest else ""
        )

    def _draw(self) -> Group:
        if self._reading:
            return Group(self._images)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("arm", "done / at most" if self.most else "done", "running", "failed", "diverged", self._title):
            table.add_column(column, justify="left" if column == "arm" else "right")
        now = Counter(trial.arm for trial in self.running)
        for arm, planned in self.planned.items():
            done = self.finished[arm] + self.failed[arm]
            counts = [f"{number or '·'}" for number in (now[arm], self.failed[arm], self.diverged[arm])]
            table.add_row(words(arm), f"{done}/{planned}", *counts, self._mean(arm))
        if self.done or not self.total:
            return Group(self._bar, table)
        epochs = f", {count(self._epochs, 'epoch')} so far" if self._epochs else ""
        return Group(f"{self._stage}{epochs}", self._bar, table)


def _named(trial: TrialKey | TrialRecord) -> str:
    return f"{trial.arm}, seed {trial.seed}{f', {trial.cell}' if trial.cell else ''}"
