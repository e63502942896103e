"""Notes of a trial of a training function, from which its record is made."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import dropwhile, takewhile
from statistics import median
from typing import TYPE_CHECKING

from slopewise.errors import FunctionError
from slopewise.records import EpochRecord, Part, ScoreRecord, SiteRecord
from slopewise.study._function._log_file import LogFile
from slopewise.study._measured import site_records
from slopewise.study.models import BuiltModel, digest

if TYPE_CHECKING:
    from slopewise.monitor import Monitor

_RATES = ("lr", "learning_rate")
_PARTS: dict[str, Part] = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "eval": "validation",  # transformers' Trainer
    "test": "test",
}


class Notes:
    """Log of a training function so far, the arm's model, and the monitor.

    Attributes:
        metrics: Names of the study's metrics.
        epochs: Records of the logged steps; the first one after step 0 counts as epoch 1.
        built: The model with the arm's activations; None before `apply`.
        digest: Digest of the weights outside the activations, as they were at `apply`.
        monitor: The latest monitor; None if nothing is watched.
        diverged: Step and cause of a divergence.
    """

    def __init__(self, metrics: tuple[str, ...], file: LogFile) -> None:
        self.metrics = metrics
        self._file = file
        self._resumed: int | None = None  # number of epochs that an earlier attempt logged
        self.epochs: list[EpochRecord] = []
        self._scores: dict[tuple[int, Part, str], ScoreRecord] = {}
        self.built: BuiltModel | None = None
        self.digest: str | None = None
        self.monitor: Monitor | None = None
        self.diverged: tuple[int, str] | None = None
        self._start = ""  # digest of all weights at `apply`
        self._watched: list[int] = []  # steps of the monitor, one for each epoch
        self._aside = 0.0  # seconds that were not spent on training
        self._last = self._clock()  # at the latest logged step

    @property
    def scores(self) -> list[ScoreRecord]:
        """Scores of the logged steps; of a value that was logged twice at a step, the later one."""
        return list(self._scores.values())

    def scores_at(self, epoch: int) -> list[ScoreRecord]:
        """Return the scores of an epoch, which takes no longer the more were logged before."""
        rows = dropwhile(lambda row: row.epoch != epoch, reversed(self._scores.values()))
        return [*takewhile(lambda row: row.epoch == epoch, rows)][::-1]

    def begin(self, built: BuiltModel) -> None:
        """Take the arm's model, with its weights as they are before training."""
        self.built, self.digest, self._start = built, built.init_digest(), digest(built.model.parameters())

    def trained(self) -> str | None:
        """Return the digest of the weights if training has changed any since `begin`; None if none has changed."""
        now = digest(self.built.model.parameters()) if self.built else self._start
        return None if now == self._start else now

    def watch(self, monitor: Monitor) -> None:
        """Take a monitor, and close the one before."""
        self.close()
        self.monitor = monitor

    def close(self) -> None:
        """Close the monitor, if there is one."""
        if self.monitor:
            self.monitor.close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values after a step.

        Raises:
            FunctionError: The step is no whole number from 0, or less than the one before.
        """
        last = self.epochs[-1].step if self.epochs else -1
        if isinstance(step, bool) or not isinstance(step, int) or step < max(last, 0):
            raise FunctionError(
                f"called trial.log with step {step!r}: steps are whole numbers that do not decrease, and the "
                f"last one was {max(last, 0)}"
            )
        if not self.epochs:
            for earlier, watched, logged in self._file.keep_before(step):
                self._add(earlier, logged, watched)
            self._resumed, self._last = len(self.epochs), self._clock()
        watched = self.monitor.step if self.monitor else 0
        self._file.append(step, watched, {name: value for name, value in values.items() if math.isfinite(value)})
        self._add(step, values, watched)

    def _add(self, step: int, values: Mapping[str, float], watched: int) -> None:
        last = self.epochs[-1].step if self.epochs else -1
        if step > last:
            self._begin(step, max(last, 0), watched)
        epoch = self.epochs[-1]
        for name, value in values.items():
            if name in _RATES:
                self.epochs[-1] = replace(self.epochs[-1], learning_rate=value)
            else:
                part, metric = self.place(name, "validation")
                self._scores[epoch.epoch, part, metric] = ScoreRecord(epoch.epoch, part, metric, value)

    def place(self, name: str, part: Part) -> tuple[Part, str]:
        """Return the part and the metric that a name stands for; names without a part are of `part`."""
        if name in self.metrics:
            return part, name
        if name == "loss":
            return "train", name
        prefix, _, metric = name.partition("_")
        if prefix in _PARTS and (metric in self.metrics or metric == "loss"):
            return _PARTS[prefix], metric
        return part, name

    def pause(self, seconds: float) -> None:
        """Leave seconds that were not spent on training out of the time of a step."""
        self._aside += seconds

    def seconds_per_step(self) -> float | None:
        """Return the median time of a step between two logged ones; the first, which warms up, is left out."""
        times = [epoch.seconds_per_step for epoch in self.epochs if epoch.seconds_per_step is not None]
        return median(times) if times else None

    def sites(self) -> Iterator[SiteRecord]:
        """Yield the records of the arm's call sites: for each logged step those of the latest sample."""
        if self.monitor is None or self.built is None:
            return
        ours = set(map(id, self.built.sites.values()))
        layers = [name for name, module in self.monitor.model.named_modules() if id(module) in ours]
        before = 0
        for epoch, step in zip(self.epochs, self._watched, strict=True):
            samples = [sample for sample in self.monitor.samples if before < sample.step <= step]
            if samples:
                yield from site_records(epoch.epoch, samples[-1], layers)
            before = step

    def _begin(self, step: int, last: int, watched: int) -> None:
        number = self.epochs[-1].epoch + 1 if self.epochs else min(step, 1)
        now = self._clock()
        warm = self._resumed is not None and any(epoch.step for epoch in self.epochs[self._resumed :])
        self.epochs.append(EpochRecord(number, step, None, (now - self._last) / (step - last) if warm else None))
        self._watched.append(watched)
        self._last = now

    def _clock(self) -> float:
        """Return a time that stands still while the trial is monitored or logged."""
        return time.perf_counter() - self._aside - (self.monitor.overhead if self.monitor else 0.0)
