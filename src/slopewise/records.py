"""Records of a study: plain, immutable records, the one language between trial, store, analysis and report.

A record holds Python numbers and strings alone (no tensors), so that it can be pickled to the driver, written to
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
        epoch: 0 before training, then 1, 2, ...
        step: optimizer steps taken so far.
        train_loss: mean cross-entropy over this epoch's (augmented) batches, each taken before its step.
        train_accuracy: fraction right over the same batches.
        validation_loss: mean cross-entropy over the validation part, evaluation mode, after the epoch.
        validation_accuracy: fraction right over the same.
        learning_rate: of the weights, at this epoch's last step.
        seconds_per_step: mean over this epoch's steps, batch preparation to update; None in the first training
            epoch, which warms up. What the monitor took is not in it.
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

    The definitions are those of `slopewise.monitor.SiteSample`, which it is made of.

    Attributes:
        epoch: as in `EpochRecord`.
        layer: the call site's name: the activation module's in the model.
        units: channels of its input (features after a linear layer).
        slopes: how many learned slopes it has; 0 for ReLU, 1 when shared.
        slope_min, slope_q1, slope_median, slope_q3, slope_max: over those slopes; all equal when shared.
        never_positive: fraction of units whose pre-activation is positive nowhere in the probe batch.
        zero_gradient: fraction of units through whose pre-activation no gradient passes anywhere in the probe
            batch, so that none reaches their incoming weights; None where nothing before the site learns.
        always_positive: fraction of units whose pre-activation is positive everywhere in the probe batch.
        positive: fraction of the pre-activations that are positive.
        pass_through: norm of the gradient behind the activation over that before it.
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
    always_positive: float | None = None  # this and what follows came later: older studies lack them
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
    """Something that `slopewise.monitor.Monitor` saw in a trial's training; its `Alarm` has the same fields."""

    id: str
    where: str
    step: int
    since: int
    evidence: str


@dataclass(frozen=True, slots=True)
class OperatorCostRecord:
    """What a training step takes with the compiled kernels, and with PyTorch's own operations in their place.

    Timed once an arm, in the process of its first seed's trial, after that trial: a second network of the arm, with
    its weights held still, takes the same steps now with the ones, now with the others. What else the machine does
    meets both alike, so the ratio can be trusted where the times of two moments cannot.

    Attributes:
        rounds: turns that each of the two had; 0 where nothing was compared.
        kernels_seconds, stock_seconds: median time of a step over the rounds, batch preparation to update; the
            processor's where a trial has one thread, else the clock's.
        stock_ratio_q1, stock_ratio, stock_ratio_q3: quartiles over the rounds of PyTorch's time over the kernels'.
        reason: why nothing was compared: most often that the trials ran on PyTorch's own operations; else None.
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
        train_loss, train_accuracy, validation_loss, validation_accuracy, test_loss, test_accuracy: of the final
            weights, evaluation mode, no augmentation. The test set is scored once, here.
        steps: optimizer steps taken; a loss that is not finite at step n leaves n - 1.
        seconds: wall time of the whole trial, measurements included.
        seconds_per_step: median over the warm epochs (all but the first).
        monitor_seconds: of the training's time, what the monitor took; it is in no `seconds_per_step`.
        parameters: learned numbers in the model; slope_parameters: how many of them are slopes.
        init_digest: SHA-256 of the initial weights, slopes aside. Equal over the arms of one seed: the pairing.
        data_digest: SHA-256 of the split and of the first batch, images as augmented and labels. Likewise.
        environment: key of the `StudyRecord.environments` entry that it ran in.
        operator_costs: one for the first seed of an arm whose network holds slopewise's layers, else none.
        alarms: what the monitor saw in the training, in that order.
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
        """Whether training ended early on a non-finite loss."""
        return self.diverged_step is not None


TRIAL_PARTS = {
    "epochs": EpochRecord,
    "sites": SiteRecord,
    "gradients": GradientRecord,
    "operator_costs": OperatorCostRecord,
    "alarms": AlarmRecord,
}
"""The fields of a `TrialRecord` that hold records: a table of their own in the store and in exports."""


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study as it stands: what was asked, where it ran, and the trials so far.

    Attributes:
        arms: every arm's name, in the spec's order.
        control: the arm that others are compared with.
        seeds: every seed of the plan.
        margin: smallest difference in test accuracy of practical interest, in percentage points.
        classes: number of classes; 1 / classes is the chance level that a diverged trial scores.
        spec: the whole spec as plain data (what `study.toml` says, defaults filled in).
        data: facts of the data: name, digest, shape, sizes of the train, validation and test parts, classes.
        environments: by digest, versions, CPU, operators and threads of every environment that trials ran in.
        trials: finished and failed ones, in the plan's order; those still missing are simply absent.
        damaged: Names of what was stored and cannot be believed any more; such trials are absent, too.
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
    """Numbers of an arm's trials; diverged ones are among the finished."""

    arm: str
    finished: int
    diverged: int
    failed: int
    missing: int


@dataclass(frozen=True, slots=True)
class StudyCounts:
    """How far a study is: its title and its arms in the spec's order."""

    title: str
    arms: tuple[ArmCounts, ...]

    @property
    def planned(self) -> int:
        """Number of trials in all."""
        return self.ended + sum(arm.missing for arm in self.arms)

    @property
    def ended(self) -> int:
        """Number of trials that are stored."""
        return sum(arm.finished + arm.failed for arm in self.arms)
