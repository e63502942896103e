"""Common part of the callbacks of trainers: watch one run of training, and count its steps as the trainer does."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import replace

import torch.distributed
from torch import nn

from slopewise.monitor._monitor import Monitor
from slopewise.monitor.sinks import Sink
from slopewise.recording import Alarm, End, Header, Sample, Thresholds


class Watching:
    """Monitor that is made when training begins. The arguments are those of `WatchCallback`.

    Attributes:
        monitor: Monitor of the latest run; None before the first.
    """

    monitor: Monitor | None

    def __init__(
        self,
        every: int = 50,
        *,
        sinks: Sequence[Sink] = (),
        trackers: bool = True,
        thresholds: Thresholds | None = None,
        evaluation: bool = False,
        name: str = "",
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be 1 or more, got {every}")
        self.every, self.sinks, self.trackers = every, tuple(sinks), trackers
        self.thresholds, self.evaluation, self.name = thresholds, evaluation, name
        self.monitor = None

    def begin(self, model: nn.Module, sinks: Sequence[Sink], steps: int, *, ranks: int) -> None:
        """Watch a model that was trained for `steps` optimizer steps already, on `ranks` processes together."""
        self.end(RuntimeError("training was broken off"))  # a run whose end was not reported
        together = ranks > 1 and torch.distributed.is_available() and torch.distributed.is_initialized()
        counted = (*self.sinks, *sinks)
        self.monitor = Monitor(
            model,
            self.every,
            sinks=[_Counted(sink, steps) for sink in counted] if steps else counted,
            thresholds=self.thresholds,
            evaluation=self.evaluation,
            process_group=torch.distributed.group.WORLD if together else None,
            name=self.name,
        ).start()
        # Trackers that write in the background lose data if nobody closes them.
        atexit.register(self.end, RuntimeError("the process ended before training did"))

    def end(self, error: BaseException | None = None) -> None:
        """Close the monitor, if there is one that is open."""
        atexit.unregister(self.end)
        if self.monitor is not None:
            self.monitor.close(error)


class _Counted(Sink):
    """Sink around another that adds the steps of earlier runs, where a run goes on from a checkpoint."""

    def __init__(self, sink: Sink, before: int) -> None:
        self.sink, self.before = sink, before

    def start(self, header: Header) -> None:
        self.sink.start(header)

    def sample(self, sample: Sample) -> None:
        self.sink.sample(replace(sample, step=sample.step + self.before))

    def alarm(self, alarm: Alarm) -> None:
        self.sink.alarm(replace(alarm, step=alarm.step + self.before, since=alarm.since + self.before))

    def close(self, end: End) -> None:
        self.sink.close(replace(end, step=end.step + self.before))
