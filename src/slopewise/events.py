"""Events of a running study, which engines and the driver send to the display."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slopewise.records import EpochRecord, ScoreRecord, TrialRecord


@dataclass(frozen=True)
class TrialKey:
    """One trial of a plan.

    Attributes:
        arm: Name of the arm.
        seed: Seed of the trial.
        cell: Key of the trial's cell (`CellRecord`); empty for the study's own settings.
        rates: Tuned learning rates, by arm; ignored when keys are compared.
    """

    arm: str
    seed: int
    cell: str = ""
    rates: tuple[tuple[str, float], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Reading:
    """Progress in reading data: `done` of `total` items; `what` names them in the plural, as in "training images"."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Prepared:
    """End of preparation: the data are read, every arm has been rehearsed, and trials can begin.

    Attributes:
        facts: Facts of the data, the model and the checkpoint, as `StudyRecord.data` keeps them.
        spec: The spec as plain data.
        augmentation: Shift in pixels, mirroring on or off, and probability of erasing, as resolved for the data.
        trials: Number of trials to run now.
        side_by_side: Number of trials that run at a time.
        epochs: Total number of epochs of these trials, including those of the arms that they start from; None if every
            trial has the number of epochs in the spec.
        seconds_per_step: Time of a training step of the control, measured here; None if it could not be measured.
        unknown_pace: Reason why no step could be timed; None if steps were timed or the reason is unknown.
        channels_last: Time of such a step in channels last, as a fraction of that in the memory format in which the
            network of the user's is built; None if the two were not compared.
        device: Type of the device that the trials use on this machine, such as cpu or cuda; None if it is unknown.
        idle: Available accelerator that the spec leaves unused; None if there is none.
    """

    facts: dict[str, Any]
    spec: dict[str, Any]
    augmentation: dict[str, Any]
    trials: int
    side_by_side: int
    epochs: float | None = None
    seconds_per_step: float | None = None
    unknown_pace: str | None = None
    channels_last: float | None = None
    device: str | None = None
    idle: str | None = None


@dataclass(frozen=True)
class Started:
    """Start of a trial; `attempt` is 1, or 2 after a failure."""

    trial: TrialKey
    attempt: int


@dataclass(frozen=True)
class Epoch:
    """End of a trial's epoch."""

    trial: TrialKey
    record: EpochRecord
    scores: tuple[ScoreRecord, ...] = ()


@dataclass(frozen=True)
class Ended:
    """End of a trial.

    Attributes:
        record: Record of the trial.
        environment: Facts whose digest is `record.environment`; None for a trial that failed.
        fault: Error of the user's, in one line, that other trials will have, too; None if there is none.
        hopeless: True if the fault makes the trials that have finished worthless, too.
    """

    record: TrialRecord
    environment: dict[str, Any] | None
    fault: str | None = None
    hopeless: bool = False


@dataclass(frozen=True)
class Tuned:
    """End of the tuning: the learning rate of each tuned arm."""

    rates: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Look:
    """Look of an adaptive study at its results, after all trials up to a number of seeds have ended.

    Attributes:
        seeds: Number of seeds at the look.
        decided: Arms that this look decided, each with its verdict; they get no further seeds.
        undecided: Arms that no look has decided yet.
        next: Number of seeds at the next look; None after the last look, and if every arm is decided.
        differences: Mean difference of each arm from its control so far, in the printed unit of the primary metric.
        unit: Unit of the differences; may be empty.
    """

    seeds: int
    decided: tuple[tuple[str, str], ...]
    undecided: tuple[str, ...]
    next: int | None
    differences: tuple[tuple[str, float], ...] = ()
    unit: str = ""


TrialEvent = Started | Epoch | Ended
"""Events of an engine."""
Event = Reading | Prepared | TrialEvent | Tuned | Look
"""Events of a study: the reading of its images, one `Prepared`, and then the events of its trials and stages."""
