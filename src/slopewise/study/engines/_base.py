"""The contract between the driver and an engine, which runs trials in processes of its own.

An engine only *places* trials. The driver (`_drive.drive`, called by `Engine.run`) decides which trial runs next,
numbers its attempts, retries it, and counts the trials that have ended:

    driver                                    session (of an engine)           worker process
    ------                                    ----------------------           --------------
    free(unended) -> 2                        start workers, count free ones
    place(trial, attempt=1), twice            hand each trial to a worker      attempt(spec, trial, data, on_event)
    reports(5.0) -> Begun, Epoch,             pass on what workers report        on_event(Begun), ...
                    Ended | Lost | Stopped                                       return Ended | Stopped
    give_up(trial)                            end the worker that has it
    ask_to_stop()                             request_stop() in each worker      checkpoint, return Stopped

Rules for a session:

- `reports` yields `Begun` when a worker begins a trial, an `Epoch` after each epoch, and at last the `Ended` or
  `Stopped` that `attempt` returned; or `Lost` if the worker is gone and there will be no record. Nothing else is
  reported of a placement after that.
- A trial that raises or diverges has not failed the engine: `attempt` returns its record.
- A loss costs the trial an attempt if the trial had begun, unless it is blameless, and nothing if it had not.
- The driver gives up a trial that exceeds its time limit. `give_up` returns once nothing works on the trial any more,
  even if its worker hangs or is frozen; news of it that arrive later are not reported.
- SIGTERM asks a study to stop: the driver calls `ask_to_stop` once, places nothing more, and follows reports until
  every placed trial has ended or stopped, at most for a grace period. The session has `request_stop()` called in each
  worker process, by a signal or from a thread, and returns at once. `attempt` then saves a checkpoint after the current
  step, and returns `Stopped`. A worker that is asked by somebody else, such as Slurm, does the same: it reports
  `Stopped` and takes no further trial, and the driver places the trial again. A session that cannot ask does nothing.
- Leaving the block of `Engine.open` ends all workers, with all that they have started, before it returns, whatever the
  reason: the end of the study, Ctrl-C, SIGTERM, an error of the driver. If the driver itself is killed, workers should
  end soon by themselves (those of `LocalEngine`: within two seconds).
- `EngineError` is for faults that keep every trial from running, such as workers that cannot be started.

A trial's record must not depend on the engine, on the number of workers, or on the trials beside it.
`slopewise.testing.check_engine` checks these rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from slopewise.errors import EngineError, nearest
from slopewise.events import Ended, Epoch, TrialEvent, TrialKey
from slopewise.study._spec import StudySpec
from slopewise.study.engines._option import Option

if TYPE_CHECKING:
    from slopewise.study._workplace import TrialData

GRACE = 25.0  # seconds; Kubernetes and Slurm kill 30 seconds after SIGTERM


@dataclass(frozen=True)
class Begun:
    """A worker has begun a trial."""

    trial: TrialKey


@dataclass(frozen=True)
class Lost:
    """A worker is gone, and with it the trial that it had.

    Attributes:
        trial: The trial, which may have begun or not.
        cause: Clause with a subject, such as "the worker process was killed by signal 9"; the record of a failed trial
            adds "during this trial".
        blameless: True if the trial certainly had no part in the loss, such as that of a whole node.
    """

    trial: TrialKey
    cause: str
    blameless: bool = False


class Claim(Enum):
    """Answer to the claim of a trial, on a store that several drivers may share."""

    OURS = "ours"
    """This driver runs the trial, or has claimed it before."""
    THEIRS = "theirs"
    """Another driver runs it; the claim may succeed later, if that driver ends."""
    STORED = "stored"
    """The trial has ended, and its record is stored."""


@dataclass(frozen=True)
class Stopped:
    """A trial has ended without a record, because its worker was asked to stop; it runs again later.

    It goes on from its latest checkpoint, if it has any.
    """

    trial: TrialKey


Report = Begun | Epoch | Ended | Lost | Stopped
"""Reports of a session on the trials that are placed with it."""


class Session(ABC):
    """Workers of an engine for one study."""

    @abstractmethod
    def free(self, unended: int) -> int:
        """Return the number of trials that can be placed now.

        Args:
            unended: Number of trials that have not ended, placed or not; more workers than that are of no use.

        Raises:
            EngineError: There are no workers, and there is no hope for any.
        """

    @abstractmethod
    def place(self, trial: TrialKey, attempt: int) -> None:
        """Hand a trial to a free worker, and return without waiting for it.

        Args:
            trial: The trial.
            attempt: 1 or more. A later attempt should run elsewhere than the one before, where that is possible.
        """

    @abstractmethod
    def reports(self, timeout: float | None = None) -> Iterable[Report]:
        """Wait until something has happened, and return it. May return nothing, for instance if workers are started.

        Args:
            timeout: Largest number of seconds to wait; None waits without end.
        """

    @abstractmethod
    def give_up(self, trial: TrialKey) -> None:
        """End the attempt at a placed trial, with all that works on it, however little it reacts."""

    def ask_to_stop(self) -> None:  # noqa: B027 - an engine may be unable to ask
        """Ask all workers to stop their trials early, and return at once; by default nobody is asked."""


class Engine(ABC):
    """Base class of engines; the module's docstring states the contract.

    Args:
        **options: Values of the options that the class declares, as text or with the type of the option.

    Attributes:
        options: Options of the class. Each is also a value of the instance under its name.

    Raises:
        EngineError: There is no such option, or a value is wrong.
    """

    options: ClassVar[tuple[Option, ...]] = ()

    def __init__(self, **options: Any) -> None:
        for name, value in self.validated(options).items():
            setattr(self, name, value)

    @classmethod
    def validated(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all options that the class declares: those given, or else the defaults.

        Raises:
            EngineError: There is no such option, or a value is wrong.
        """
        declared = {option.name: option for option in cls.options}
        for name in options.keys() - declared.keys():
            known = nearest(name, declared) if declared else "it has none"
            raise EngineError(f"{cls.__name__} has no option '{name}'; {known}")
        return {name: option.value(options.get(name)) for name, option in declared.items()}

    @abstractmethod
    def capacity(self, spec: StudySpec) -> int:
        """Return the number of trials that can run at a time, at least 1; `Needs.of(spec)` is what one takes."""

    @abstractmethod
    def open(self, spec: StudySpec, data: TrialData) -> AbstractContextManager[Session]:
        """Return a context manager that gives a session, and ends all of its workers when the block is left.

        Args:
            spec: Spec of the study, as plain data would give it: it can be pickled.
            data: Images of the study, or the folders of a training function's trials. Processes that are spawned with
                images map the same memory; pickled otherwise, they hold a copy of the pixels, so send them once to each
                machine and not with each trial.
        """

    def side_by_side(self, spec: StudySpec, trials: int) -> int:
        """Return the number of trials, out of `trials`, that run at a time."""
        return min(self.capacity(spec), trials)

    def run(
        self,
        spec: StudySpec,
        trials: Sequence[TrialKey],
        data: TrialData | None = None,
        *,
        more: Callable[[], Sequence[TrialKey]] = tuple,
        time_limit: float | None = None,
        claim: Callable[[TrialKey], Claim] | None = None,
        grace: float = GRACE,
    ) -> Generator[TrialEvent, None, None]:
        """Run the trials, and yield their events until each one has ended; closing the generator ends all workers.

        Args:
            spec: Spec of the study.
            trials: Trials to run; they start in this order.
            data: Images of the study, or the folders of a training function's trials; None reads the images that the
                spec names, and takes folders in the working directory.
            more: Called whenever all trials have ended; returns further trials for the same workers. The run ends when
                it returns none.
            time_limit: Number of seconds that an attempt at a trial may take; None sets no limit. A trial that
                exceeds it is given up, tried once more, and fails if it exceeds the limit again.
            claim: Function that claims a trial for this driver before it is placed, where several drivers share a
                store; None claims all.
            grace: Number of seconds that trials have to save a checkpoint or to end, after `request_stop` was called
                in this process; then the run ends, whatever is missing.

        Yields:
            `Started` when a trial begins, again if it is tried again; `Epoch` after each epoch; `Ended` exactly once
            for each trial that is run here, with its record: finished (diverged ones too) or failed.

        Raises:
            EngineError: No trial can be run.
        """
        from slopewise.study.engines._drive import drive

        return drive(self, spec, trials, data, more, time_limit=time_limit, claim=claim, grace=grace)
