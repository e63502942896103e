"""The ledger of a run: sampled steps on their way to the host, and the samples and alarms that have arrived."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from slopewise.errors import MonitorWarning
from slopewise.monitor._clock import Clock
from slopewise.monitor._packet import Part, Transfer
from slopewise.monitor._parameters import ParameterParts
from slopewise.monitor._slopes import SlopeStates
from slopewise.monitor._tally import SiteReading, UnitStates
from slopewise.monitor.sinks import Sink
from slopewise.recording import Alarm, End, Header, Sample, SlopeSummary, from_plain, to_plain
from slopewise.recording.alarms import Facts, Judge

T = TypeVar("T")


@dataclass(frozen=True)
class SentStep:
    """A sampled step whose numbers are on their way to the host.

    Attributes:
        step: Number of the step.
        passes: Number of its counted forward passes.
        dropped: Number of its backward passes whose gradients were not finite and were dropped.
        seconds: Time that measuring it took.
        facts: Facts that alarms depend on beside the sample, as they were in the step.
        transfer: The numbers.
        sites, parameters: Parts of the transfer.
    """

    step: int
    passes: int
    dropped: int
    seconds: float
    facts: Facts
    transfer: Transfer
    sites: Part[list[SiteReading]]
    parameters: ParameterParts


class Ledger:
    """Samples and alarms of a run, in the order of its steps, and the sinks that hear of them.

    Attributes:
        samples: Samples that have arrived.
        alarms: Alarms that they raised.
        units: Functions that make the states of units by call site, as the latest sample has them.
        slopes: States of slopes by layer, as the latest sample has them.
        judge: Judge of the samples.
    """

    def __init__(self, judge: Judge, sinks: Sequence[Sink], clock: Clock) -> None:
        self.samples: list[Sample] = []
        self.alarms: list[Alarm] = []
        self.units: dict[str, Callable[[], UnitStates]] = {}
        self.slopes: dict[str, SlopeStates] = {}
        self.judge = judge
        self._sinks, self._clock = list(sinks), clock
        self._sent: deque[SentStep] = deque()

    def start(self, header: Header) -> None:
        """Tell the sinks that the run begins."""
        self._call_sinks(lambda sink: sink.start(header))

    def close(self, end: End) -> None:
        """Tell the sinks that the run has ended."""
        self._call_sinks(lambda sink: sink.close(end))

    def add(self, sent: SentStep) -> None:
        """Take a sampled step, and collect those that have arrived."""
        self._sent.append(sent)
        self.collect(wait=False)

    def collect(self, *, wait: bool) -> None:
        """Make samples of the steps that have arrived on the host.

        Args:
            wait: True to wait for those that have not.
        """
        while self._sent and (wait or self._sent[0].transfer.ready()):
            sent = self._sent.popleft()
            with self._clock:
                sample = self._sample(sent)
                alarms = self.judge.see(sample, sent.facts)
                self.samples.append(sample)
                self.alarms += alarms
                self._call_sinks(lambda sink, sample=sample, alarms=alarms: _report(sink, sample, alarms))  # type: ignore[misc]

    def latest(self, states: Mapping[str, T], name: str, what: str) -> T:
        """Return the states of a call site or a layer in the latest sample, once it has arrived.

        Args:
            states: `units` or `slopes`.
            name: Call site or layer.
            what: Subject and verb for the error, as in "call site 'act' was".

        Raises:
            KeyError: No sample has it.
        """
        self.collect(wait=True)
        if name not in states:
            raise KeyError(f"no {what} seen; there are: {', '.join(states) or 'none yet'}")
        return states[name]

    def state_dict(self) -> dict[str, Any]:
        """Return what has arrived, and what the judge remembers of it, as plain data."""
        return {
            "samples": list(map(to_plain, self.samples)),
            "alarms": list(map(to_plain, self.alarms)),
            "units": [vars(states()) for states in self.units.values()],
            "slopes": [_plain_slopes(states) for states in self.slopes.values()],
            "judge": self.judge.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of another ledger."""
        self.samples = [from_plain(Sample, sample) for sample in state["samples"]]
        self.alarms = [from_plain(Alarm, alarm) for alarm in state["alarms"]]
        self.units = {states["site"]: partial(UnitStates, **states) for states in state["units"]}
        self.slopes = {
            states["layer"]: SlopeStates(**{**states, "summary": from_plain(SlopeSummary, states["summary"])})
            for states in state["slopes"]
        }
        self.judge.load_state_dict(state["judge"])

    def _sample(self, sent: SentStep) -> Sample:
        sites = sent.transfer.read(sent.sites)
        slopes, layers = sent.parameters.read(sent.transfer)
        self.units.update({reading.sample.site: reading.states for reading in sites})
        self.slopes.update({states.layer: states for states, _ in slopes})
        return Sample(
            sent.step,
            sent.passes,
            tuple(reading.sample for reading in sites),
            tuple(sample for _, sample in slopes),
            layers,
            sent.seconds,
            sent.dropped,
        )

    def _call_sinks(self, call: Callable[[Sink], Any]) -> None:
        """Call each sink. Training does not die of its logging: a sink that fails is named once, and dropped."""
        for sink in list(self._sinks):
            try:
                call(sink)
            except Exception as error:  # a tracker can raise anything
                self._sinks.remove(sink)
                message = f"{type(sink).__name__} failed and gets nothing more: {type(error).__name__}: {error}"
                warnings.warn(message, MonitorWarning, stacklevel=2)


def _plain_slopes(states: SlopeStates) -> dict[str, Any]:
    """Return states as plain data; copies, since `torch.save` would store all of the packet that they are views of."""
    plain = {name: value.clone() if isinstance(value, Tensor) else value for name, value in vars(states).items()}
    return {**plain, "summary": to_plain(states.summary)}


def _report(sink: Sink, sample: Sample, alarms: Sequence[Alarm]) -> None:
    sink.sample(sample)
    for alarm in alarms:
        sink.alarm(alarm)
