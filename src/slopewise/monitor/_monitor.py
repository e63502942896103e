"""The monitor: which steps it samples, when a step ends, and where what it measured goes."""

from __future__ import annotations

import os
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from slopewise.errors import MonitorWarning
from slopewise.monitor._clock import Clock
from slopewise.monitor._hook import Hook
from slopewise.monitor._parameters import Parameters, SlopeStates
from slopewise.monitor._ranks import Ranks, unwrapped
from slopewise.monitor._sites import Sites
from slopewise.monitor._steps import Steps
from slopewise.monitor._tally import UnitStates
from slopewise.monitor._transfer import Transfer
from slopewise.monitor.sinks import Sink
from slopewise.recording import Alarm, End, Header, Recording, Sample, Thresholds
from slopewise.recording.alarms import Facts, Judge
from slopewise.support import deprecated, need

if TYPE_CHECKING:
    from slopewise.report import WatchSummary


_Reader = Callable[[Sequence[Tensor]], tuple[Sample, list[Alarm]]]


class Monitor:
    """Watches a model's activations, slopes, gradients and updates while any loop trains it.

    One optimizer step in `every` is sampled, the first one included. In a sampled step the monitor counts on the
    device what happens at every call site of an activation, without waiting for the device; when the step ends, one
    transfer brings the numbers to the host. Between sampled steps nothing of it runs but one comparison in each
    forward pass and each step of an optimizer.

    It finds out by itself when an optimizer steps, if that derives from `torch.optim.Optimizer`; loops that update
    weights otherwise call `step_done` once a step. A step ends when all parameters that have a gradient have been
    stepped, so several optimizers, gradient accumulation and steps that a GradScaler leaves out are understood. Forward
    passes count that are made in training mode with gradients enabled; what gradient checkpointing computes a second
    time does not. Nothing is changed: training with a monitor gives the same bits as without.

    Not seen are activations within what torch.compile or TorchScript runs; `notes` tells. With
    DistributedDataParallel, or a `process_group`, the counts are those of all ranks together, and rank 0 alone writes
    to the sinks; otherwise each process sees its own share of the data. Slopes, gradients, weights and updates of a
    model that `fully_shard` has cut up are those of the whole model in any case: every process needs a monitor, made
    after sharding, with the same `every`.

    Args:
        model: the network, or a DistributedDataParallel or compiled one that holds it.
        every: sample one step in so many.
        sinks: where samples and alarms go while training runs, see `slopewise.monitor.sinks`.
        thresholds: of the alarms.
        activations: modules that are activations, beside PyTorch's and slopewise's own: a Swish written by hand, say.
        evaluation: count passes in evaluation mode, or without gradients, too.
        process_group: of processes that train the model together by other means than DistributedDataParallel.
        name: of the run, for reports.

    Attributes:
        step: optimizer steps since the start.
        notes: what cannot be seen, and why.

    Raises:
        ValueError: `every` is less than 1, a part of the model is wrapped in torch.nn.DataParallel or in the older
            FullyShardedDataParallel, or no parameter requires a gradient.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.Linear(8, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with Monitor(model, every=2) as monitor:
        ...     for _ in range(4):
        ...         model(torch.randn(16, 4)).square().mean().backward()
        ...         optimizer.step()
        >>> [sample.step for sample in monitor.samples], monitor.samples[0].sites[0].site
        ([1, 3], '1')
    """

    def __init__(
        self,
        model: nn.Module,
        every: int = 50,
        *,
        sinks: Sequence[Sink] = (),
        thresholds: Thresholds | None = None,
        activations: Iterable[nn.Module] = (),
        evaluation: bool = False,
        process_group: ProcessGroup | None = None,
        name: str = "",
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be 1 or more, got {every}")
        inner, group, compiled = unwrapped(model)
        self.model, self.every, self.evaluation = inner, every, evaluation
        self.step = 0
        self._ranks = Ranks(process_group or group)
        self._sinks = list(sinks) if self._ranks.first else []
        self._clock = Clock()
        self._sites = Sites(inner, self._clock, activations=activations, compiled=compiled)
        self._parameters = Parameters(inner, thresholds or Thresholds())
        if not any(parameter.requires_grad for parameter in self._parameters.all):
            raise ValueError(
                f"no parameter of {type(inner).__name__} requires a gradient: there is no training to watch"
            )
        self._judge = Judge(thresholds or Thresholds())
        self._samples: list[Sample] = []
        self._alarms: list[Alarm] = []
        self._states: dict[str, UnitStates] = {}
        self._slopes: dict[str, SlopeStates] = {}
        self._header = Header(type(inner).__name__, every, time.time(), name)
        self._begun = time.perf_counter()
        self._end: End | None = None
        self._measured = 0.0  # seconds that belong to samples already
        self._on_their_way: deque[tuple[Transfer, _Reader]] = deque()
        self._steps = Steps(self._parameters.all)
        self._hooks: list[Callable[[], Any]] = []

    def start(self) -> Self:
        """Begin to watch; entering a `with` block does it."""
        if self._end is not None:
            raise RuntimeError("this monitor is closed: make a new one")
        if self._hooks:
            return self
        self._begun = time.perf_counter()
        for sink in list(self._sinks):
            self._tell(sink, sink.start, self._header)
        forward = self.model.register_forward_pre_hook(Hook(self._on_forward), with_kwargs=True)
        # The optimizers' hooks are global: they must not keep a forgotten monitor, and its model, alive.
        before, after = _weakly(self._on_step), _weakly(self._on_stepped)
        handles = (
            forward,
            register_optimizer_step_pre_hook(before),
            register_optimizer_step_post_hook(after),
        )
        self._hooks = [handle.remove for handle in handles]
        weakref.finalize(self, _remove, [handle.remove for handle in handles[1:]])
        return self

    def close(self, error: BaseException | None = None) -> None:
        """Stop watching: take all hooks out, keep what a step that did not end has shown, and close the sinks.

        Args:
            error: what ended the run, if something did; the recording names it.
        """
        if self._end is not None:
            return
        _remove(self._hooks)
        self._hooks = []
        if self._steps.begun:
            self._finish_step(alone=True)  # other processes may not get here
        elif self._sites.passes:
            self._seal(self.step + 1, alone=True)
        self._collect(wait=True)
        words = "" if error is None else f"{type(error).__name__}: {error}"
        self._end = End(self.step, time.perf_counter() - self._begun, self._clock.seconds, self.notes, words)
        for sink in list(self._sinks):
            self._tell(sink, sink.close, self._end)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(error)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Samples so far, in the order of their steps; on a GPU this waits for the latest."""
        self._collect(wait=True)
        return tuple(self._samples)

    @property
    def records(self) -> tuple[Sample, ...]:
        """Deprecated: use `samples`."""
        deprecated("Monitor.records", "Monitor.samples")
        return self.samples

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms so far, in the order in which they were raised."""
        self._collect(wait=True)
        return tuple(self._alarms)

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be seen, and why."""
        blind = (
            "no forward pass of the model was seen in a sampled step: it is compiled, or called by another way than "
            "model(...)"
        )
        replaced = (
            "the model's parameters are others than when the monitor was made (fully_shard replaces them), so that no "
            "optimizer steps those: make the monitor afterwards"
        )
        unseen = bool(self._samples) and not any(sample.passes for sample in self._samples)
        seen = self._sites.passes or self._samples
        others = seen and not self.step and self._parameters.all.isdisjoint(self.model.parameters())
        found = [*self._sites.notes, *self._ranks.notes, *self._parameters.notes]
        return (*found, *([replaced] if others else []), *([blind] if unseen and not self._sites.notes else []))

    @property
    def recording(self) -> Recording:
        """All of it as data, as reports take it."""
        return Recording(self._header, self.samples, self.alarms, self._end)

    @property
    def overhead(self) -> float:
        """Seconds that measuring took so far, on this process's clock (not the device's)."""
        return self._clock.seconds

    def units(self, site: str) -> UnitStates:
        """Unit by unit, what the latest sample showed of a call site.

        Raises:
            KeyError: no sample has that site.
        """
        self._collect(wait=True)
        if site not in self._states:
            raise KeyError(f"no call site '{site}' was seen; there are: {', '.join(self._states) or 'none yet'}")
        return self._states[site]

    def slopes(self, layer: str) -> SlopeStates:
        """Slope by slope, what the latest sample showed of a layer.

        Raises:
            KeyError: no sample has slopes of that layer.
        """
        self._collect(wait=True)
        if layer not in self._slopes:
            raise KeyError(f"no slopes of '{layer}' were seen; there are: {', '.join(self._slopes) or 'none yet'}")
        return self._slopes[layer]

    def dead_since(self, site: str) -> dict[int, int]:
        """The units of a call site that are dead now, and the first sampled step since which they are.

        Example:
            >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> _ = nn.init.constant_(model[0].bias, -100.0)
            >>> with Monitor(model) as monitor:
            ...     model(torch.rand(8, 4)).sum().backward()
            >>> monitor.dead_since("1")
            {0: 1, 1: 1, 2: 1}
        """
        self._collect(wait=True)
        return {unit: streak.since for unit, streak in self._judge.streaks("dead-units", site).items()}

    def summary(self) -> WatchSummary:
        """The latest state as a table: ``print`` it. Needs `pip install slopewise[study]`."""
        need("slopewise.report", what="Monitor.summary()", extra="study")
        from slopewise.report import watch_summary

        return watch_summary(self.recording)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write the run so far as one offline HTML page. Needs `pip install slopewise[study]`.

        Raises:
            OSError: the file cannot be written.
        """
        need("slopewise.report", what="Monitor.report()", extra="study")
        from slopewise.report import write_watch_html

        write_watch_html(self.recording, path)

    def step_done(self) -> None:
        """Say that a step has ended, in a loop that changes weights without an optimizer of torch's."""
        if self._sampling:
            self._finish_step()
        else:
            self.step += 1

    def pass_begins(self, *args: Any, **kwargs: Any) -> None:
        """Say that a forward pass begins, in a loop that calls parts of the model and never ``model(...)``.

        Inside ``model(...)`` it changes nothing. `pass_ends` must follow.

        Args:
            args: what the pass is given, if that is known: it helps to tell where its channels are.
            kwargs: likewise.
        """
        self._on_forward(self.model, args, kwargs)

    def pass_ends(self) -> None:
        """Say that the forward pass has ended; if none goes on, this does nothing."""
        self._sites.end()

    @property
    def _sampling(self) -> bool:
        return self.step % self.every == 0

    def _on_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling() or not self._sampling or self._sites.busy:
            return
        if not (self.evaluation or (module.training and torch.is_grad_enabled())):
            return
        with self._clock:
            if self._steps.begun and not self._steps.busy:  # whatever was not stepped yet will not be
                self._finish_step()
                if not self._sampling:
                    return
            self._sites.begin(args, kwargs)

    def _on_step(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._steps.concern(optimizer) or not self._steps.enter(optimizer) or not self._sampling:
            return
        with self._clock:
            if self._steps.repeats(optimizer):
                self._finish_step()
            if self._sampling:
                self._parameters.before(optimizer)

    def _on_stepped(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._steps.concern(optimizer) or not self._steps.leave(optimizer):
            return
        if not self._sampling:
            self.step += self._steps.ends(optimizer)
            return
        with self._clock:
            self._parameters.after(optimizer)
            if self._steps.take(optimizer):
                self._finish_step()

    def _finish_step(self, *, alone: bool = False) -> None:
        """A sampled step has ended, whether or not there were parameters that it waited for."""
        if self._steps.begun:
            self._steps.abandon()
        self._seal(self.step + 1, alone=alone)
        self.step += 1

    def _seal(self, step: int, *, alone: bool = False) -> None:
        """Send off what a sampled step has shown."""
        with self._clock:
            passes, tallies = self._sites.passes, self._sites.finish()
            own, read_parameters = self._parameters.pack(alone=alone)
            device = next((part.device for part in own), None)
            counted, read_sites = self._ranks.pack(tallies, device, alone=alone)
            transfer = Transfer(counted, own, None if alone else self._ranks.group)
            facts = Facts(dict(self._parameters.decays), dict(self._parameters.rates), dict(self._sites.tied))
        seconds, self._measured = self._clock.seconds - self._measured, self._clock.seconds

        def read(parts: Sequence[Tensor]) -> tuple[Sample, list[Alarm]]:
            sites = read_sites(parts[: len(counted)])
            self._states.update({state.site: state for _, state in sites})
            slopes, layers = read_parameters(parts[len(counted) :])
            self._slopes.update({state.layer: state for state, _ in slopes})
            sample = Sample(
                step, passes, tuple(site for site, _ in sites), tuple(slope for _, slope in slopes), layers, seconds
            )
            return sample, self._judge.see(sample, facts)

        self._on_their_way.append((transfer, read))
        self._collect(wait=False)

    def _collect(self, *, wait: bool) -> None:
        """Turn what has arrived on the host into records."""
        while self._on_their_way and (wait or self._on_their_way[0][0].ready()):
            transfer, read = self._on_their_way.popleft()
            with self._clock:
                sample, alarms = read(transfer.read())
                self._samples.append(sample)
                self._alarms += alarms
                for sink in list(self._sinks):
                    self._tell(sink, sink.sample, sample)
                    for alarm in alarms:
                        self._tell(sink, sink.alarm, alarm)

    def _tell(self, sink: Sink, call: Callable[[Any], None], item: Any) -> None:
        """Training does not die of its logging: a sink that fails is heard of once, and dropped."""
        try:
            call(item)
        except Exception as error:  # a tracker can raise anything
            if sink in self._sinks:
                self._sinks.remove(sink)
            words = f"{type(sink).__name__} failed and gets nothing more: {type(error).__name__}: {error}"
            warnings.warn(words, MonitorWarning, stacklevel=2)


def watch(model: nn.Module, every: int = 50, **options: Any) -> Monitor:
    """A `Monitor` that has started; it takes the same arguments, and is a context manager.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> with watch(model, every=10) as monitor:
        ...     model(torch.randn(16, 4)).mean().backward()
        >>> monitor.samples[0].sites[0].activation
        'relu'
    """
    return Monitor(model, every, **options).start()


def _weakly(method: Callable[[torch.optim.Optimizer], None]) -> Callable[..., None]:
    """The method as an optimizer's hook, which does not keep its object alive."""
    reference = weakref.WeakMethod(method)

    # The step of an optimizer that is compiled would be compiled with all that follows here.
    @torch._disable_dynamo  # type: ignore[attr-defined]
    def hook(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        target = reference()
        if target is not None:
            target(optimizer)

    return hook


def _remove(handles: Sequence[Callable[[], Any]]) -> None:
    for remove in handles:
        remove()
