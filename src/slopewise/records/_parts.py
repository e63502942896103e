"""Parts of a trial's record: rows of one kind each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of one trial. Epoch 0 is the state before the first step. Its scores are in `TrialRecord.scores`.

    Attributes:
        epoch: Number of the epoch: 0 before training, then 1, 2, ...
        step: Number of optimizer steps taken so far.
        learning_rate: Learning rate of the weights at this epoch's last step.
        seconds_per_step: Mean time of this epoch's steps, from batch preparation to update, without the monitor's
            time; None in the first training epoch, which is a warm-up.
    """

    epoch: int
    step: int
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
        slopes_below_0, slopes_above_1: Fractions of the site's slopes below 0 and above 1.
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
    slopes_below_0: float | None = None
    slopes_above_1: float | None = None


@dataclass(frozen=True, slots=True)
class GradientRecord:
    """Euclidean norm of one layer's own parameter gradients (slopes aside) on the probe batch, after one epoch."""

    epoch: int
    layer: str
    norm: float | None


@dataclass(frozen=True, slots=True)
class LayerScoreRecord:
    """Score of the information about the image in the output of one call site, at the final weights of a trial.

    Attributes:
        layer: Name of the call site, as in `SiteRecord`.
        measure: Name of the measure: `linear_probe` or `reconstruction`.
        value: Score on held-out images (accuracy as a fraction, or R²); larger is better. None if an output is not
            finite, or if the pixels to reconstruct are constant.
    """

    layer: str
    measure: str
    value: float | None


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
