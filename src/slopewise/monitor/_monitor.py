"""The monitor: it follows steps of training, samples some of them, and keeps what they show.

One sampled step, in order:

    model(...)            a forward pre-hook begins a counted pass: `Sites` puts hooks on all modules (`_sites`)
      each activation       adds the signs of its pre-activations to a `Tally` on the device (`_tally`)
    loss.backward()
      each activation       adds its gradients to the tally, by hooks on tensors and autograd nodes (`_gradients`)
    optimizer.step()      an optimizer's pre-hook copies the parameters, its post-hook measures the updates
                          (`_parameters`, `_slopes`); the step tracker says if the step has ended (`_steps`)
    end of the step       all sums are put into one packet, which starts for the host (`_packet`) after the sums of
                          several processes are added up (`_ranks`); the hooks on modules go
    a later call          the packet has arrived: the ledger makes a sample, judges it, and tells sinks (`_ledger`)

In the other steps, one comparison in the forward pre-hook and one in each optimizer hook is all that runs.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.distributed
from torch import nn
from torch.distributed import ProcessGroup
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from slopewise.monitor._attempts import Attempts
from slopewise.monitor._clock import Clock
from slopewise.monitor._hook import Hook, remove_hooks, weakly
from slopewise.monitor._ledger import Ledger, SentStep
from slopewise.monitor._notes import BLIND, REPLACED
from slopewise.monitor._packet import Packet
from slopewise.monitor._parameters import Parameters
from slopewise.monitor._ranks import Ranks, unwrapped
from slopewise.monitor._sites import Sites
from slopewise.monitor._slopes import SlopeStates
from slopewise.monitor._steps import StepEvent, StepTracker
from slopewise.monitor._tally import UnitStates
from slopewise.monitor.sinks import Sink
from slopewise.recording import Alarm, End, Header, Recording, Sample, Thresholds
from slopewise.recording.alarms import Facts, Judge
from slopewise.support import deprecated, need

if TYPE_CHECKING:
    from slopewise.report import WatchSummary


class Monitor:
    """Watches a model's activations, slopes, gradients and updates while any loop trains it.

    One optimizer step in `every` is sampled, the first one included. In a sampled step, the monitor counts on the
    device what happens at every call site of an activation, without waiting for the device. When the step ends, one
    transfer brings the numbers to the host. In other steps, the monitor costs one comparison in each forward pass and
    in each step of an optimizer. It waits for the device only within a sampled step whose gradients are dropped or
    changed between two passes, to tell if the step fails.

    Steps of every `torch.optim.Optimizer` are noticed; loops that update weights by other means call `step_done` once
    a step. A step ends when all parameters that have a gradient have been stepped, so several optimizers, gradient
    accumulation and steps that a GradScaler leaves out are understood. Counts only forward passes in training mode
    with gradients enabled; recomputation by gradient checkpointing is ignored. Training with a monitor gives the same
    bits as without.

    Activations within compiled modules and TorchScript are not seen; `notes` names them. With DistributedDataParallel,
    or a `process_group`, counts are added up over all ranks, and rank 0 alone writes to the sinks. Otherwise, each
    process counts its own share of the data. Slopes, gradients, weights and updates of a model that `fully_shard` has
    sharded are always those of the whole model: every process needs a monitor, made after sharding, with the same
    `every`.

    Args:
        model: Network, or a DistributedDataParallel or compiled module that holds it.
        every: Number of steps of which one is sampled.
        sinks: Receivers of samples and alarms while training runs, see `slopewise.monitor.sinks`.
        thresholds: Thresholds of the alarms; None takes the defaults.
        activations: Modules that are activations, beside PyTorch's and slopewise's own: a Swish written by hand.
        evaluation: True to count passes in evaluation mode, or without gradients, too.
        process_group: Processes that train the model together by other means than DistributedDataParallel.
        name: Name of the run, for reports.

    Attributes:
        step: Number of optimizer steps since the start.
        notes: Notes about what cannot be seen, with the reasons.

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
        self._clock = Clock()
        self._sites = Sites(inner, self._clock, activations=activations, compiled=compiled)
        self._parameters = Parameters(inner, thresholds or Thresholds())
        if not any(parameter.requires_grad for parameter in self._parameters.all):
            raise ValueError(
                f"no parameter of {type(inner).__name__} requires a gradient: there is no training to watch"
            )
        self._ledger = Ledger(Judge(thresholds or Thresholds()), sinks if self._ranks.first else (), self._clock)
        self._header = Header(type(inner).__name__, every, time.time(), name)
        self._begun, self._earlier = time.perf_counter(), 0.0  # seconds before `load_state_dict`
        self._end: End | None = None
        self._measured = 0.0  # seconds that belong to samples already
        self._steps = StepTracker(self._parameters.all)
        alone = self._ranks.group is None and not self._parameters.sharded
        self._attempts = Attempts(self._parameters, followed=alone)
        self._hooks: list[Callable[[], Any]] = []

    def start(self) -> Self:
        """Start to watch; entering a `with` block does so."""
        if self._end is not None:
            raise RuntimeError("this monitor is closed: make a new one")
        if self._hooks:
            return self
        self._begun = time.perf_counter()
        self._ledger.start(self._header)
        forward = self.model.register_forward_pre_hook(Hook(self._on_forward), with_kwargs=True)
        # The optimizers' hooks are global: they must not keep a forgotten monitor, and its model, alive.
        before, after = weakly(self._on_step), weakly(self._on_stepped)
        handles = (
            forward,
            register_optimizer_step_pre_hook(before),
            register_optimizer_step_post_hook(after),
        )
        self._hooks = [handle.remove for handle in handles]
        weakref.finalize(self, remove_hooks, [handle.remove for handle in handles[1:]])
        return self

    def close(self, error: BaseException | None = None) -> None:
        """Stop watching: take all hooks out, keep what a step that did not end has shown, and close the sinks.

        Args:
            error: Exception that ended the run, which the recording names; None if there was none.
        """
        if self._end is not None:
            return
        remove_hooks(self._hooks)
        self._hooks = []
        if self._steps.begun:
            self._finish_step(alone=True)  # other processes may not get here
        elif self._sites.passes:
            self._seal(self.step + 1, alone=True)
        self._attempts.close()
        self._ledger.collect(wait=True)
        words = "" if error is None else f"{type(error).__name__}: {error}"
        seconds = self._earlier + time.perf_counter() - self._begun
        self._end = End(self.step, seconds, self._clock.seconds, self.notes, words)
        self._ledger.close(self._end)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(error)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Samples so far, in the order of their steps; on a GPU this waits for the latest."""
        self._ledger.collect(wait=True)
        return tuple(self._ledger.samples)

    @property
    def records(self) -> tuple[Sample, ...]:
        """Deprecated: use `samples`."""
        deprecated("Monitor.records", "Monitor.samples")
        return self.samples

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Alarms so far, in the order in which they were raised."""
        self._ledger.collect(wait=True)
        return tuple(self._ledger.alarms)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about what could not be seen, with the reasons."""
        samples = self._ledger.samples
        seen = self._sites.passes or samples
        replaced = seen and not self.step and self._parameters.all.isdisjoint(self.model.parameters())
        blind = samples and not any(sample.passes for sample in samples) and not self._sites.notes
        notes = [*self._sites.notes, *self._ranks.notes, *self._parameters.notes]
        return (*notes, *([REPLACED] if replaced else []), *([BLIND] if blind else []))

    @property
    def recording(self) -> Recording:
        """The run so far as plain data, which reports take."""
        return Recording(self._header, self.samples, self.alarms, self._end)

    @property
    def overhead(self) -> float:
        """Seconds that measuring has taken so far, on this process's clock (not the device's)."""
        return self._clock.seconds

    def units(self, site: str) -> UnitStates:
        """Return a call site unit by unit, as the latest sample shows it.

        Raises:
            KeyError: No sample has that site.
        """
        return self._ledger.latest(self._ledger.units, site, f"call site '{site}' was")()

    def slopes(self, layer: str) -> SlopeStates:
        """Return a layer slope by slope, as the latest sample shows it.

        Raises:
            KeyError: No sample has slopes of that layer.
        """
        return self._ledger.latest(self._ledger.slopes, layer, f"slopes of '{layer}' were")

    def dead_since(self, site: str) -> dict[int, int]:
        """Return the units of a call site that are dead now, each with the first sampled step since which it is.

        Example:
            >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> _ = nn.init.constant_(model[0].bias, -100.0)
            >>> with Monitor(model) as monitor:
            ...     model(torch.rand(8, 4)).sum().backward()
            >>> monitor.dead_since("1")
            {0: 1, 1: 1, 2: 1}
        """
        self._ledger.collect(wait=True)
        return {unit: streak.since for unit, streak in self._ledger.judge.streaks("dead-units", site).items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that the monitor has seen and remembers, for a checkpoint: tensors, numbers, text, dicts, lists.

        Call it between two steps: what a step that has not ended has shown is left out.

        Example:
            >>> model = nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.Linear(8, 1))
            >>> with Monitor(model, every=2) as before:
            ...     model(torch.randn(16, 4)).square().mean().backward()
            ...     before.step_done()
            >>> after = Monitor(model, every=2)
            >>> after.load_state_dict(before.state_dict())
            >>> after.step, after.samples == before.samples
            (1, True)
        """
        self._ledger.collect(wait=True)
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        return {
            "step": self.step,
            "every": self.every,
            "started": self._header.started,
            "seconds": self._earlier + time.perf_counter() - self._begun,
            "overhead": self._clock.seconds,
            "measured": self._measured,
            **self._attempts.state_dict(),
            "ledger": self._ledger.state_dict(),
            "parameters": self._parameters.state_dict(),
            "sites": self._sites.state_dict(),
            "not_awaited": sorted(names[parameter] for parameter in self._steps.given_up & names.keys()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of another monitor: samples, alarms and steps are the same as of one that never stopped.

        Sinks are not told what the other monitor had told them.

        Args:
            state: State from `state_dict`, of a monitor of the same model with the same `every`.

        Raises:
            ValueError: The state is of another model, or of another `every`.
        """
        if state["every"] != self.every:
            raise ValueError(f"the state is of a monitor with every={state['every']}, not {self.every}")
        self._parameters.load_state_dict(state["parameters"])
        self._sites.load_state_dict(state["sites"])
        self._ledger.load_state_dict(state["ledger"])
        self._steps.resume({p for name, p in self.model.named_parameters() if name in set(state["not_awaited"])})
        self.step, self._measured = state["step"], state["measured"]
        self._attempts.load_state_dict(state)
        self._clock.seconds, self._earlier = state["overhead"], state["seconds"]
        self._header = replace(self._header, started=state["started"])
        self._begun = time.perf_counter()

    def summary(self) -> WatchSummary:
        """Return the latest state as a table to ``print``. Needs `pip install slopewise[study]`."""
        need("slopewise.report", what="Monitor.summary()", extra="study")
        from slopewise.report import watch_summary

        return watch_summary(self.recording)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write the run so far as one offline HTML page. Needs `pip install slopewise[study]`.

        Raises:
            OSError: The file cannot be written.
        """
        need("slopewise.report", what="Monitor.report()", extra="study")
        from slopewise.report import write_watch_html

        write_watch_html(self.recording, path)

    def step_done(self) -> None:
        """Count a step that has ended, in a loop that changes weights without a `torch.optim.Optimizer`."""
        if self._sampling:
            self._finish_step()
        else:
            self._count()

    def pass_begins(self, *args: Any, **kwargs: Any) -> None:
        """Begin a forward pass, in a loop that calls parts of the model and never ``model(...)``.

        Inside ``model(...)`` it changes nothing. `pass_ends` must follow.

        Args:
            args: Positional arguments of the pass, if they are known: they help to find its channels.
            kwargs: Keyword arguments of the pass.
        """
        self._on_forward(self.model, args, kwargs)

    def pass_ends(self) -> None:
        """End the forward pass; without one, this does nothing."""
        self._sites.end()

    @property
    def _sampling(self) -> bool:
        return self._attempts.samples(self.step, self.every)

    def _on_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            return
        self._sites.end_interrupted()
        if self._sites.busy:
            return
        trains = module.training and torch.is_grad_enabled()
        between = not self._steps.within  # and not in the closure of an optimizer
        if trains and between:
            self._attempts.begin()
        if not self._sampling or not (self.evaluation or trains):
            return
        with self._clock:
            if self._steps.forward() is StepEvent.ENDED:  # parameters that were not stepped yet will not be
                self._finish_step()
            elif between and self._attempts.give_up(self.step, self._sites):
                self._seal(self.step + 1, alone=True)
            if self._sampling:
                self._sites.begin(args, kwargs)

    def _on_step(self, optimizer: torch.optim.Optimizer) -> None:
        event = self._steps.stepping(optimizer, sampled=self._sampling)
        if event is StepEvent.FOREIGN or not self._sampling:
            return
        with self._clock:
            if event is StepEvent.NEXT:
                self._finish_step()
            if self._sampling:
                self._parameters.before(optimizer)

    def _on_stepped(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._sampling:
            if self._steps.stepped(optimizer, sampled=False) is StepEvent.ENDED:
                self._count()
            return
        with self._clock:
            event = self._steps.stepped(optimizer, sampled=True)
            if event is not StepEvent.FOREIGN:
                self._parameters.after(optimizer)
            if event is StepEvent.ENDED:
                self._finish_step()

    def _finish_step(self, *, alone: bool = False) -> None:
        """End a sampled step, whether or not parameters are still waited for."""
        if self._steps.begun:
            self._steps.abandon()
        self._seal(self.step + 1, alone=alone)
        self._count()

    def _count(self) -> None:
        self._attempts.ended(self.step)
        self.step += 1

    def _seal(self, step: int, *, alone: bool = False) -> None:
        """Send the numbers of a sampled step to the host.

        Args:
            step: Number of the step.
            alone: True if other processes do not take part, because they may not get here.
        """
        with self._clock:
            passes, tallies = self._sites.passes, self._sites.finish()
            packet = Packet()
            parameters = self._parameters.pack(packet, alone=alone)
            sites = self._ranks.pack(tallies, packet, alone=alone)
            transfer = packet.send(None if alone else self._ranks.group)
            facts = Facts(dict(self._parameters.decays), dict(self._parameters.rates), dict(self._sites.tied))
        seconds, self._measured = self._clock.seconds - self._measured, self._clock.seconds
        self._ledger.add(SentStep(step, passes, self._attempts.dropped, seconds, facts, transfer, sites, parameters))
