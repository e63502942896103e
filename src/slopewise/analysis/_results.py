"""What the analysis says: plain, immutable results that tables, pages and JSON are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slopewise.records import MetricRecord

Verdict = Literal["helps", "hurts", "no practical effect", "inconclusive"]
CautionId = Literal[
    "untrained",
    "test-class-missing",
    "coarse-test-set",
    "ceiling",
    "not-finite",
    "other-environment",
    "lost-pairs",
    "identical",
    "no-spread",
    "too-few-seeds",
    "too-few-converged",
]


@dataclass(frozen=True, slots=True)
class Caution:
    """A reason not to take a verdict at its word.

    Attributes:
        id: Kind of the reason.
        text: The reason, its evidence, and where there is one a remedy: a sentence without its full stop.
        brief: The reason alone, to stand beside a verdict.
    """

    id: CautionId
    text: str
    brief: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """Arm minus control on one metric, paired by seed.

    Attributes:
        arm, control, metric: Names of what is compared; `metric` is a key of `metrics_of`.
        title, unit, better, digits: Fields of the metric; `better` is "higher" or "lower".
        margin: smallest difference of practical interest, in `unit`; None for a metric without one.
        chance: Value that a diverged trial counts with, or its partner's value where that is lower; None where pairs
            with a diverged trial are left out.
        tests: how many contrasts share the error rate in Holm's correction: every arm but the control.
        seeds: Seeds in which both have a value, ascending; never one in which both diverged.
        arm_values, control_values, differences: one per seed, in `unit`; differences = arm - control.
        difference: mean of the differences. None without pairs.
        sd: their standard deviation (n - 1). None below two pairs.
        interval: 95 % confidence interval of the mean difference (`mean_interval`), of accuracies as wide at least as
            if one test image were their standard deviation. None below two pairs.
        p: two-sided exact sign-flip p value. None without pairs.
        p_holm: the same after Holm's correction over the arms of this metric.
        verdict: by the rule in docs/statistics.md; without a margin never "no practical effect".
        negligible: Whether the interval lies inside the margin, with pairs enough to say so (possible beside helps and
            hurts).
        correlation: Pearson correlation of the paired values: what pairing buys. None where undefined.
        smallest_detectable: effect that this many seeds would show with 80 % power, in `unit`. None below
            `seeds_floor` pairs: there no effect, however large, is shown by these pairs alone.
        seeds_needed: seeds at which the margin would be shown with 80 % power, never below `seeds_floor`.
            None without a margin, below two pairs (`sd` is None), and where a million would not show it.
        seeds_floor: fewest pairs whose smallest possible p value survives the correction; 8 with 4 tests.
        can_be_shown: Whether any outcome of these pairs could be shown, other arms being shown first.
        converged: Number of the pairs in which both trained.
        finished: Number of seeds that both finished, diverged or not.
        diverged, control_diverged: Number of these in which each of them diverged.
        both_diverged: Number of these in which both did; they are no pairs.
        divergence_bound, control_divergence_bound: Largest rate of divergence of each that these trials do not exclude
            (95 % confidence), a fraction. None without a seed that both finished.
        censored: pairs in which a value is only a bound (target never reached).
        cautions: reasons not to take the verdict at its word; those of the whole study stand first.
    """

    arm: str
    control: str
    metric: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    margin: float | None
    chance: float | None
    tests: int
    seeds: tuple[int, ...]
    arm_values: tuple[float, ...]
    control_values: tuple[float, ...]
    differences: tuple[float, ...]
    difference: float | None
    sd: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    verdict: Verdict
    negligible: bool
    correlation: float | None
    smallest_detectable: float | None
    seeds_needed: int | None
    seeds_floor: int
    can_be_shown: bool
    converged: int
    finished: int
    diverged: int
    control_diverged: int
    both_diverged: int
    divergence_bound: float | None
    control_divergence_bound: float | None
    censored: int
    cautions: tuple[Caution, ...] = ()

    @property
    def value_unit(self) -> str:
        """Unit of the values: "%" where differences are points, else `unit`."""
        return "%" if self.unit == "points" else self.unit


@dataclass(frozen=True, slots=True)
class LayerSlopes:
    """Final slopes of one layer over an arm's converged seeds: the median of medians, and the extremes."""

    layer: str
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm's own figures, in the words of the terminal table.

    Attributes:
        finished, failed, diverged, missing: trials; diverged ones are among the finished.
        score_mean, score_sd: Mean and standard deviation of the primary metric on the test part, in print's unit;
            diverged seeds at chance.
        converged_score_mean: Mean over converged seeds alone.
        seconds_per_step: median over seeds; cost_ratio: median over seeds of the paired ratio to the control.
        stock_ratio: time of the arm's step with PyTorch's own operations over that with the compiled kernels, both
            taken side by side. None where the network has none of slopewise's layers, or nothing was compared.
        stock_cost_ratio: cost_ratio * stock_ratio: what cost_ratio would be without the kernels in this arm.
        stock_reason: why nothing was compared, in words.
        slopes: per layer, in the model's order; empty for arms without learned slopes.
    """

    arm: str
    finished: int
    failed: int
    diverged: int
    missing: int
    score_mean: float | None
    score_sd: float | None
    converged_score_mean: float | None
    seconds_per_step: float | None
    cost_ratio: float | None
    stock_ratio: float | None
    stock_cost_ratio: float | None
    stock_reason: str | None
    slopes: tuple[LayerSlopes, ...]


@dataclass(frozen=True, slots=True)
class ArmAlarm:
    """One kind of alarm in the trials of one arm.

    Attributes:
        seeds: of the trials that raised it.
        places: layers and call sites, the most frequent first.
        step, seed, evidence: of the trial that raised it earliest.
    """

    arm: str
    id: str
    seeds: tuple[int, ...]
    places: tuple[str, ...]
    step: int
    seed: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """Whether the arms of each seed really started from the same weights and saw the same data.

    Attributes:
        checked: Number of seeds with two or more finished trials.
        broken: Seeds among them whose digests differ between arms.
        apart: Seeds among them whose arms ran in different environments.
    """

    checked: int
    broken: tuple[int, ...]
    apart: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole judgement of a study: a pure function of its records.

    Attributes:
        metric: Definition of the primary metric.
        primary: Primary metric on the test part, one contrast per arm but the control; diverged seeds at chance level.
        converged: the same over the pairs in which neither diverged.
        secondary: the other metrics, converged pairs alone, exploratory; metric by metric as in `metrics_of`.
        target: Validation score, in print's unit, that `steps_to_target` waits for: the control's median
            final one. None without a converged control trial.
        alarms: what the monitor said of the trials.
        cautions: reasons not to take any verdict of the study at its word.
    """

    control: str
    metric: MetricRecord
    margin: float
    arms: tuple[ArmSummary, ...]
    primary: tuple[Contrast, ...]
    converged: tuple[Contrast, ...]
    secondary: tuple[Contrast, ...]
    target: float | None
    pairing: Pairing
    alarms: tuple[ArmAlarm, ...] = ()
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure of one arm over training: the mean over converged seeds, with its 95 % interval.

    All tuples have one entry for each epoch in which a converged seed has a value; empty without such a seed.

    Attributes:
        steps, epochs: where on the way.
        mean: over seeds; accuracies and fractions in percent, losses in nats.
        low, high: 95 % confidence interval of that mean; None below two seeds.
        n: seeds with a value.
    """

    arm: str
    steps: tuple[int, ...]
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    n: tuple[int, ...]
