"""What a monitor tells, and to whom: the contract of a sink."""

from __future__ import annotations

from abc import ABC, abstractmethod

from slopewise.recording import Alarm, End, Header, Sample


class Sink(ABC):
    """Takes what a monitor measures to somewhere else: a file, a tracker, a screen.

    Write your own by subclassing; only `sample` must be there. What a sink can count on:

    - `start` is called once, before all else, when watching begins.
    - `sample` is called for every sampled step, in their order: at its end, or a little later where the numbers are
      still on their way from a GPU.
    - `alarm` follows the sample that raised it.
    - `close` is called once and last, also when training ended with an exception: `end.error` then says which. It
      does not come if the process is killed.
    - All calls come from the thread that trains, between two of its steps, and in a distributed run on rank 0 alone.

    What a monitor counts on:

    - A call is quick: training waits for it.
    - It leaves the training alone: no draw from PyTorch's random numbers, no change of the model.
    - After `close` it holds no file and no tracker's run that it opened itself. Those that it was given stay open.
    - A sink whose call raises is dropped with a warning, and training goes on. So refuse what cannot work early, in
      `__init__`, where the user still sees it as an error.
    - A sink may be started again after it was closed; what it then gets is another run.

    Samples and alarms are immutable and hold no tensor, so they can be kept, sent, and pickled.

    Example:
        >>> class Printed(Sink):
        ...     def sample(self, sample):
        ...         print(f"step {sample.step}: {sum(len(site.dead) for site in sample.sites)} dead units")
        >>> Printed().sample(Sample(step=50, passes=1, sites=(), slopes=(), layers=()))
        step 50: 0 dead units
    """

    def start(self, header: Header) -> None:  # noqa: B027 - most sinks need it, none must have it
        """The run begins."""

    @abstractmethod
    def sample(self, sample: Sample) -> None:
        """One sampled step."""

    def alarm(self, alarm: Alarm) -> None:  # noqa: B027
        """Something that a person should look at."""

    def close(self, end: End) -> None:  # noqa: B027
        """The run is over."""
