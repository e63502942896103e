"""The contract between the driver and an engine, which runs trials.

An engine takes the trials that are missing and yields events (`slopewise.events`) until each one has ended:

- `Started` when a trial begins, again if it is tried again;
- `Epoch` after each epoch, for the display (an engine may leave these out);
- `Ended` exactly once for each trial, with its record: finished (diverged ones too) or failed.

The driver has read the images: `data` are pixels in a file without a name. Every process on this machine that is
started with them maps the file instead of reading the images again. Without `data`, the engine reads the spec's data.

An engine never writes the store, and gives no meaning to the order of trials beyond starting them in it. A trial's
record does not depend on the engine, on the number of workers, or on the trials beside it. A worker that dies, or
a trial that raises, costs that trial alone: it is tried once more, then it ends as failed with the traceback. A worker
that dies before the trial has begun costs nothing. Closing the generator (the driver does so on Ctrl-C, on SIGTERM and
on its own errors) ends all workers before it returns; if the driver itself is killed, they end within two seconds, with
all that they have started. `EngineError` is for faults that keep every trial from running: births of workers that fail
in a row while no worker is left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from slopewise.events import TrialEvent, TrialKey
from slopewise.study._spec import StudySpec

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

ATTEMPTS = 2  # a trial's first try and one more
READY, BEGUN = "ready", "begun"  # messages of a worker that can take trials, and that has taken one


class Engine(ABC):
    """Base class of engines, which run trials; the module's docstring states the contract."""

    def side_by_side(self, spec: StudySpec, trials: int) -> int:  # noqa: ARG002 - engines use it
        """Return the number of trials, out of `trials`, that run at a time; by default 1."""
        return min(1, trials)

    @abstractmethod
    def run(
        self, spec: StudySpec, trials: Sequence[TrialKey], data: ImageData | None = None
    ) -> Generator[TrialEvent, None, None]:
        """Run the trials, and start them in this order as workers become free."""
