"""Records of a study: immutable plain data exchanged between trial, store, analysis and report.

A record holds only Python numbers and strings (no tensors), so that it can be pickled to the driver, written to
SQLite, exported, and analysed without torch. Fractions are in 0..1, losses in nats, times in seconds. A value that
does not exist (the slope of a ReLU, the test accuracy of a trial that diverged) is None, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["finished", "failed"]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of one trial. Epoch 0 is the state before the first step, so it has no training figures.

    Attributes:
        epoch: Number of the epoch: 0 before training, then 1, 2, ...
        step: Number of optimizer steps taken so far.
        train_loss: Mean cross-entropy over this epoch's (augmented) batches, each computed before its step.
        train_accuracy: Fraction of correct predictions over the same batches.
        validation_loss: Mean cross-entropy over the validation part after the epoch, in evaluation mode.
        validation_accuracy: Fraction of correct predictions over the validation part, in evaluation mode.
        learning_rate: Learning rate of the weights at this epoch's last step.
        seconds_per_step: Mean time of this epoch's steps, from batch preparation to update, without the monitor's
            time; None in the first training epoch, which is a warm-up.
    """

    epoch: int
    step: int
    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float | None
    seconds_per_step: float | None


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """One call site of an activation after one epoch: its slopes and the state of its units on the fixed probe batch.

    The record is made from a `slopewise.monitor.SiteSample`, which defines the quantities.

    Attributes:
        epoch: Number of the epoch; 0 before training.
        layer: Name of the call site, which is the activation module's name in the model.
        units: Number of channels of the site's input (features after a linear layer).
        slopes: Number of learned slopes; 0 for ReLU, 1 when shared.
        slope_min, slope_q1, slope_median, slope_q3, slope_max: Quantiles of those slopes; all equal when shared.
        never_positive: Fraction of units whose pre-activation is positive nowhere in the probe batch.
        zero_gradient: Fraction of units through whose pre-activation no gradient passes anywhere in the probe
            batch, so that none reaches their incoming weights; None where nothing before the site learns.
        always_positive: Fraction of units whose pre-activation is positive everywhere in the probe batch.
        positive: Fraction of the pre-activations that are positive.
        pass_through: Norm of the gradient behind the activation divided by the norm before it.
    """

    epoch: int
    layer: str
    units: int
    slopes: int
    slope_min: float | None
    slope_q1: float | None
    slope_median: float | None
    slope_q3: float | None
    slope_max: float | None
    never_positive: float
    zero_gradient: float | None
    always_positive: float | None = None  # added later, as are the fields below: older studies lack them
    positive: float | None = None
    pass_through: float | None = None


@dataclass(frozen=True, slots=True)
class GradientRecord:
    """Euclidean norm of one layer's own parameter gradients (slopes aside) on the probe batch, after one epoch."""

    epoch: int
    layer: str
    norm: float | None


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """Alarm raised by `slopewise.monitor.Monitor` during a trial's training, with the fields of its `Alarm`."""

    id: str
    where: str
    step: int
    since: int
    evidence: str


@dataclass(frozen=True, slots=True)
class OperatorCostRecord:
    """Time of a training step with the compiled kernels, and with PyTorch's own operations in their place.

    Timed once per arm, after the trial of its first seed and in the same process. A second network of the arm, whose
    weights do not move, takes the same steps alternately with the kernels and with PyTorch's operations. Other load on
    the machine affects both alike, so the ratio is reliable where times taken at different moments are not.

    Attributes:
        rounds: Number of turns that each of the two had; 0 if nothing was compared.
        kernels_seconds, stock_seconds: Median time of a step over the rounds, from batch preparation to update:
            processor time if a trial has one thread, else wall time.
        stock_ratio_q1, stock_ratio, stock_ratio_q3: Quartiles over the rounds of PyTorch's time divided by the
            kernels' time.
        reason: Reason why nothing was compared, most often that the trials ran on PyTorch's own operations; None if
            the comparison was made.
    """

    rounds: int
    kernels_seconds: float | None = None
    stock_seconds: float | None = None
    stock_ratio_q1: float | None = None
    stock_ratio: float | None = None
    stock_ratio_q3: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One training run: arm x seed.

    A trial that diverges is finished: it has `diverged_step` and `diverged_cause`, the epochs until then, and no
    final scores. A failed one has `error`, a traceback, and nothing else. Two runs of the same spec and seed on a
    CPU agree bitwise in every field but the times (`seconds`, `seconds_per_step`, `monitor_seconds`, `operator_costs`)
    and `attempts`.

    Attributes:
        train_loss, train_accuracy, validation_loss, validation_accuracy, test_loss, test_accuracy: Scores of the final
            weights in evaluation mode, without augmentation. This is the only time that the test set is scored.
        steps: Number of optimizer steps taken; n - 1 if the loss is not finite at step n.
        seconds: Wall time of the whole trial, measurements included.
        seconds_per_step: Median of `EpochRecord.seconds_per_step` over all epochs but the first.
        monitor_seconds: Time that the monitor took during training; no `seconds_per_step` includes it.
        parameters: Number of learned numbers in the model.
        slope_parameters: Number of those that are slopes.
        init_digest: SHA-256 of the initial weights without the slopes. Equal in all arms of a seed, which pairs them.
        data_digest: SHA-256 of the split and of the first batch (augmented images and labels). Equal in all arms of a
            seed, too.
        environment: Key in `StudyRecord.environments` of the environment that the trial ran in.
        operator_costs: One record for the first seed of an arm whose network holds slopewise's layers, else none.
        alarms: Alarms that the monitor raised during training, in order.
    """

    arm: str
    seed: int
    status: Status
    attempts: int = 1
    error: str | None = None
    diverged_step: int | None = None
    diverged_cause: str | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    steps: int = 0
    seconds: float | None = None
    seconds_per_step: float | None = None
    monitor_seconds: float | None = None
    parameters: int | None = None
    slope_parameters: int | None = None
    init_digest: str | None = None
    data_digest: str | None = None
    environment: str | None = None
    epochs: tuple[EpochRecord, ...] = ()
    sites: tuple[SiteRecord, ...] = ()
    gradients: tuple[GradientRecord, ...] = ()
    operator_costs: tuple[OperatorCostRecord, ...] = ()
    alarms: tuple[AlarmRecord, ...] = ()

    @property
    def diverged(self) -> bool:
        """True if training ended early on a non-finite loss."""
        return self.diverged_step is not None


TRIAL_PARTS = {
    "epochs": EpochRecord,
    "sites": SiteRecord,
    "gradients": GradientRecord,
    "operator_costs": OperatorCostRecord,
    "alarms": AlarmRecord,
}
"""Fields of a `TrialRecord` that hold records; each has a table of its own in the store and in exports."""


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study in its present state: its spec, its environments, and the trials that have ended.

    Attributes:
        arms: Names of all arms, in the spec's order.
        control: Name of the arm that the others are compared with.
        seeds: All seeds of the plan.
        margin: Smallest difference in test accuracy of practical interest, in percentage points.
        classes: Number of classes; 1 / classes is the chance level, which a diverged trial scores.
        spec: The whole spec as plain data (the contents of `study.toml` with defaults filled in).
        data: Facts of the data: name, digest, shape, sizes of the train, validation and test parts, classes.
        environments: Versions, CPU, operators and threads of every environment that trials ran in, by digest.
        trials: Finished and failed trials, in the plan's order; missing ones are absent.
        damaged: Names of stored items that are damaged; trials among them are absent from `trials`, too.
    """

    arms: tuple[str, ...]
    control: str
    seeds: tuple[int, ...]
    margin: float
    classes: int
    spec: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: tuple[TrialRecord, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """Numbers of an arm's trials; `finished` includes the diverged ones."""

    arm: str
    finished: int
    diverged: int
    failed: int
    missing: int


@dataclass(frozen=True, slots=True)
class StudyCounts:
    """Progress of a study: its title, the counts of its arms in the spec's order, and the names of damaged trials."""

    title: str
    arms: tuple[ArmCounts, ...]
    damaged: tuple[str, ...] = ()

    @property
    def planned(self) -> int:
        """Number of trials in the plan."""
        return self.ended + sum(arm.missing for arm in self.arms)

    @property
    def ended(self) -> int:
        """Number of trials that are stored."""
        return sum(arm.finished + arm.failed for arm in self.arms)
