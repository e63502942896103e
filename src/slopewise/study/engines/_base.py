"""The contract between the driver and whatever runs trials.

An engine takes the trials that are missing and yields events (`slopewise.events`) until each one has ended:

- `Started` when a trial begins, again if it is tried again;
- `Epoch` after each epoch, for the display (an engine may leave these out);
- `Ended` exactly once for each trial, with its record: finished (diverged ones too) or failed.

The driver has read the images: `data` are pixels in a file without a name, which every process on this machine that
is started with them maps instead of reading them again. Without them the engine reads what the spec names.

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
READY, BEGUN = "ready", "begun"  # what a worker says when it can take trials, and when it has taken one


class Engine(ABC):
    """Runs trials; see the module's words for the contract."""

    def side_by_side(self, spec: StudySpec, trials: int) -> int:  # noqa: ARG002 - engines use it
        """Return how many of so many trials run at a time; 1 unless an engine says otherwise."""
        return min(1, trials)

    @abstractmethod
    def run(
        self, spec: StudySpec, trials: Sequence[TrialKey], data: ImageData | None = None
    ) -> Generator[TrialEvent, None, None]:
        """Run the trials, in this order as workers become free."""
