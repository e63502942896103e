"""Contract of a sink, which receives a monitor's samples and alarms."""

from __future__ import annotations

from abc import ABC, abstractmethod

from slopewise.recording import Alarm, End, Header, Sample


class Sink(ABC):
    """Base class of sinks, which send a monitor's measurements elsewhere: to a file, a tracker, a screen.

    Write your own by subclassing; only `sample` is required. A sink can rely on this:

    - `start` is called once, before all else, when watching begins.
    - `sample` is called for every sampled step, in order: at its end, or a little later while the numbers are
      still on their way from a GPU.
    - `alarm` follows the sample that raised it.
    - `close` is called once and last, also when training ended with an exception, which `end.error` names. It
      is not called if the process is killed.
    - All calls come from the training thread, between two of its steps, and in a distributed run on rank 0 alone.

    A monitor relies on this:

    - A call is quick: training waits for it.
    - It does not affect training: no draw from PyTorch's random numbers, no change of the model.
    - After `close`, it holds no file and no tracker's run that it opened itself. Those that it was given stay open.
    - A sink whose call raises is dropped with a warning, and training goes on. So check arguments in `__init__`,
      where the user still sees an error.
    - A sink may be started again after it was closed, for another run.

    Samples and alarms are immutable and hold no tensor, so they can be kept, sent, and pickled.

    Example:
        >>> class Printed(Sink):
        ...     def sample(self, sample):
        ...         print(f"step {sample.step}: {sum(len(site.dead) for site in sample.sites)} dead units")
        >>> Printed().sample(Sample(step=50, passes=1, sites=(), slopes=(), layers=()))
        step 50: 0 dead units
    """

    def start(self, header: Header) -> None:  # noqa: B027 - most sinks need it, none must have it
        """Begin a run."""

    @abstractmethod
    def sample(self, sample: Sample) -> None:
        """Take a sampled step."""

    def alarm(self, alarm: Alarm) -> None:  # noqa: B027
        """Take an alarm, which asks for a person's attention."""

    def close(self, end: End) -> None:  # noqa: B027
        """End the run."""
