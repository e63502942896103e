"""Results of the analysis: plain, immutable data that tables, pages and JSON are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slopewise.records import MetricRecord, value_unit

Verdict = Literal["helps", "hurts", "no practical effect", "inconclusive"]
CautionId = Literal[
    "untrained",
    "test-class-missing",
    "largest-class",
    "coarse-test-set",
    "ceiling",
    "no-floor",
    "not-repeatable",
    "not-finite",
    "other-environment",
    "unpaired",
    "lost-pairs",
    "identical",
    "no-spread",
    "too-few-seeds",
    "too-few-converged",
    "unpaired-looks",
]


@dataclass(frozen=True, slots=True)
class Caution:
    """Reason not to trust a verdict as it stands.

    Attributes:
        id: Kind of the reason.
        text: Sentence with the reason, its evidence and any remedy, without a full stop.
        brief: Short form of the reason, shown beside a verdict.
    """

    id: CautionId
    text: str
    brief: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """Arm minus control on one metric, paired by seed where the arms of a seed started alike.

    Attributes:
        arm, control, metric: Names of the arms and of the metric; `metric` is a key of `metrics_of`.
        title, unit, better, digits: Fields of the metric; `better` is "higher" or "lower".
        margin: Smallest difference of practical interest, in `unit`: the study's, or the metric's own. None for a
            metric without one.
        chance: Value of a diverged trial, or its partner's value (without pairs, the worst value of all) if that is
            worse; None if diverged trials are left out.
        tests: Number of contrasts that share the error rate in Holm's correction, one per arm but the control.
        paired: True if arm and control are compared pair by pair. Else their runs have nothing in common: because the
            study says so, or because the digests of some seed differ.
        seeds: Seeds in which both have a value, ascending; never one in which both diverged. Without pairs, the seeds
            of the arm's values.
        control_seeds: Seeds of the control's values; those of the pairs, too.
        arm_values, control_values: Values in these seeds, in `unit`.
        differences: arm - control in each pair.
        difference: Mean of the differences, or difference of the means. None without a value of either.
        sd: Standard deviation of the differences (n - 1); without pairs, of the difference of a run of the arm and one
            of the control. None below two pairs, or two runs of either arm.
        interval: 95 % confidence interval of the mean difference (`mean_interval`, `difference_interval`). For
            accuracies, the standard deviation counts as one test image at least. At the looks of an adaptive study it
            is wider, so that the intervals of all looks hold jointly with 95 %. None where `sd` is.
        p: Two-sided exact p value, of the sign-flip test or, without pairs, of the permutation test. In an adaptive
            study, p value of the looks completed so far (`sequential_p`); 1 before the first. None without values.
        p_holm: p value after Holm's correction over the arms of this metric.
        verdict: Verdict by the rule in docs/statistics.md; without a margin never "no practical effect".
        negligible: True if the interval lies inside the margin and there are enough pairs to conclude that. Possible
            together with "helps" and "hurts".
        correlation: Pearson correlation of the paired values, the gain from pairing. None where undefined.
        smallest_detectable: Effect that this number of seeds would show with 80 % power, in `unit`. None below
            `seeds_floor` pairs, which alone show no effect, however large, and in an adaptive study, to which the
            power formulas do not apply.
        seeds_needed: Number of seeds (without pairs, of runs of each arm) that would show an effect as large as the
            margin with 80 % power, at least `seeds_floor`. None without a margin, where `sd` is None, above a million,
            and in an adaptive study.
        seeds_floor: Fewest pairs, or runs of each arm, whose smallest possible p value survives the correction; 8 pairs
            or 5 runs with 4 tests. In an adaptive study, number of seeds of the first look at which it does; None if
            there is no such look.
        can_be_shown: True if some outcome of these pairs or runs could be significant, given that other arms are.
        converged, control_converged: Number of pairs in which neither trial diverged; without pairs, of the values of
            trials that did not diverge.
        finished, control_finished: Number of seeds in which both trials finished, diverged or not; without pairs, of
            the finished trials of the arm and of the control.
        diverged, control_diverged: Number of those trials of the arm, and of the control, that diverged.
        both_diverged: Number of seeds in which both diverged; they are no pairs.
        divergence_bound, control_divergence_bound: Largest rate of divergence, as a fraction, that these trials do not
            exclude (95 % confidence). None without such trials.
        censored: Number of pairs, or of runs, in which a value is only a bound, because the target was never reached.
        cautions: Reasons not to trust the verdict as it stands, starting with those about the whole study.
        look: Number of seeds of the look that these figures belong to. None in a fixed study, and before the first
            look (without pairs, before the last), when nothing can be decided.
        looks: Numbers of seeds of all looks of an adaptive study; empty in a fixed study.
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
    seeds_floor: int | None
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
    paired: bool = True
    control_seeds: tuple[int, ...] = ()
    control_finished: int = 0
    control_converged: int = 0
    look: int | None = None
    looks: tuple[int, ...] = ()

    @property
    def decided(self) -> bool:
        """True if there is a verdict; an adaptive study gives such an arm no further seeds."""
        return self.verdict != "inconclusive"

    @property
    def size(self) -> int:
        """Number of values of both arms."""
        return len(self.seeds) + len(self.control_seeds)

    @property
    def basis(self) -> str:
        """Number of values in words: "10 seeds", or "8 and 10 runs" if they are not paired."""
        n, m = len(self.seeds), len(self.control_seeds)
        if self.paired:
            return f"{n} seed{'s' if n != 1 else ''}"
        return f"{n} and {m} runs"

    @property
    def value_unit(self) -> str:
        """Unit of the values, as `slopewise.records.value_unit` gives it."""
        return value_unit(self.unit)


@dataclass(frozen=True, slots=True)
class LayerSlopes:
    """Final slopes of one layer over an arm's converged seeds: median of medians, lowest and highest slope."""

    layer: str
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """Figures of one arm alone.

    Attributes:
        finished, failed, diverged, missing: Numbers of trials; diverged ones are among the finished. In an
            adaptive study, seeds beyond the look that decided the arm are not missing.
        score_mean, score_sd: Mean and standard deviation of the primary metric on the test part, in print's unit;
            diverged seeds at chance.
        converged_score_mean: Mean over converged seeds alone.
        seconds_per_step: Median over seeds.
        cost_ratio: Median over seeds of the step time relative to the control's in the same seed.
        stock_ratio: Step time with PyTorch's own operations over the step time with the compiled kernels, measured in
            turn. None if the network has none of slopewise's layers, or nothing was measured.
        stock_cost_ratio: cost_ratio * stock_ratio, the cost ratio if this arm ran without the kernels.
        stock_reason: Reason why nothing was measured, in words.
        slopes: Final slopes per layer, in the model's order; empty for arms without learned slopes.
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
        seeds: Seeds of the trials that raised it.
        places: Layers and call sites, the most frequent first.
        step, seed, evidence: Alarm with the earliest step.
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
    """Result of checking that the arms of each seed started from the same weights and saw the same data.

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
    """Analysis of a study, a pure function of its records.

    Attributes:
        metric: Definition of the primary metric.
        primary: Contrasts of the primary metric on the test part, one per arm but the control; diverged trials count
            as chance.
        converged: Contrasts of the primary metric over the pairs in which neither trial diverged.
        secondary: Contrasts of the other metrics over converged pairs, exploratory, in the order of `metrics_of`.
        target: Validation score, in print's unit, that `steps_to_target` waits for: the control's median final score.
            None without a converged control trial.
        alarms: Alarms that the monitor raised in the trials.
        cautions: Reasons not to trust any verdict of the study as it stands.
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
        steps, epochs: Positions in training.
        mean: Mean over seeds; accuracies and fractions in percent, losses in nats.
        low, high: 95 % confidence interval of the mean; None below two seeds.
        n: Number of seeds with a value.
    """

    arm: str
    steps: tuple[int, ...]
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    n: tuple[int, ...]
