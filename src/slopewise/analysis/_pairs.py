"""Values of an arm and the control behind a contrast: in pairs by seed, or as runs that have nothing in common."""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slopewise.analysis._intervals import difference_interval, mean_interval
from slopewise.analysis._metrics import Metric
from slopewise.analysis._permutation import permutation_p
from slopewise.analysis._power import Design
from slopewise.analysis._signflip import sign_flip_p
from slopewise.records import StudyRecord, TrialRecord

Trials = Mapping[str, Mapping[int, TrialRecord]]


@dataclass(frozen=True, slots=True)
class Sample(ABC):
    """Values of one contrast, and what follows from their design: test, interval, spread.

    Attributes:
        seeds, control_seeds: Seeds of the values, ascending.
        arm, control: Values of the arm and of the control, one for each of these seeds.
        converged: Numbers of values whose trials did not diverge.
        finished, control_finished: Numbers of trials that finished, diverged or not.
        diverged, control_diverged: Numbers of these trials that diverged.
        both_diverged: Number of seeds in which both trials diverged; 0 for runs, which have no partners.
        censored: Number of pairs, or of runs, in which a value is only a bound.
        decides: True if a verdict may rest on these values; False between the looks of an adaptive study.
        look: Number of seeds of the look that the values belong to; None in a fixed study, and before the first look.
        looks: Numbers of seeds of all looks of an adaptive study; empty in a fixed study.
    """

    seeds: tuple[int, ...]
    control_seeds: tuple[int, ...]
    arm: tuple[float, ...]
    control: tuple[float, ...]
    converged: Design
    finished: int
    control_finished: int
    diverged: int
    control_diverged: int
    both_diverged: int
    censored: int
    decides: bool = True
    look: int | None = None
    looks: tuple[int, ...] = ()

    @property
    @abstractmethod
    def design(self) -> Design:
        """Numbers of values."""

    @property
    def smallest_p(self) -> float:
        """Smallest p value that this number of values can have; 1 if no verdict may rest on them."""
        return self.design.smallest_p if self.decides else 1.0

    @property
    @abstractmethod
    def differences(self) -> tuple[float, ...]:
        """Arm minus control in each seed; none for runs."""

    @property
    @abstractmethod
    def difference(self) -> float:
        """Mean difference. There is at least one value of each arm."""

    @property
    @abstractmethod
    def sd(self) -> float | None:
        """Standard deviation of a difference; None if there are too few values."""

    @abstractmethod
    def p(self) -> float:
        """Return the p value of the exact test; 1 without values, and if no verdict may rest on them."""

    @abstractmethod
    def interval(self, resolution: float) -> tuple[float, float]:
        """Return the 95 % interval of the mean difference; `sd` is not None."""


class Pairs(Sample):
    """Pairs by seed; in each at least one of the two trials has a value of its own."""

    __slots__ = ()

    @property
    def design(self) -> Design:
        return Design(len(self.seeds))

    @property
    def differences(self) -> tuple[float, ...]:
        return tuple(arm - control for arm, control in zip(self.arm, self.control, strict=True))

    @property
    def difference(self) -> float:
        return statistics.fmean(self.differences)

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.differences) if len(self.seeds) > 1 else None

    def p(self) -> float:
        return float(sign_flip_p(self.differences)) if self.seeds else 1.0

    def interval(self, resolution: float) -> tuple[float, float]:
        low, high = mean_interval(self.differences, resolution=resolution)
        return float(low), float(high)


class Runs(Sample):
    """Runs of the arm and of the control, not paired; both have some, or neither."""

    __slots__ = ()

    @property
    def design(self) -> Design:
        return Design(len(self.arm), len(self.control))

    @property
    def differences(self) -> tuple[float, ...]:
        return ()

    @property
    def difference(self) -> float:
        return statistics.fmean(self.arm) - statistics.fmean(self.control)

    @property
    def sd(self) -> float | None:
        if min(len(self.arm), len(self.control)) < 2:
            return None
        return math.hypot(statistics.stdev(self.arm), statistics.stdev(self.control))

    def p(self) -> float:
        return float(permutation_p(self.arm, self.control)) if self.seeds and self.decides else 1.0

    def interval(self, resolution: float) -> tuple[float, float]:
        low, high = difference_interval(self.arm, self.control, resolution=resolution)
        return float(low), float(high)


def finished_trials(study: StudyRecord) -> dict[str, dict[int, TrialRecord]]:
    """Return finished trials by arm and seed; every arm of the study and its control have an entry.

    NaN and infinite figures of a trial count as missing.
    """
    trials: dict[str, dict[int, TrialRecord]] = {arm: {} for arm in (*study.arms, study.control)}
    for trial in study.trials:
        if trial.status == "finished":
            trials[trial.arm][trial.seed] = _without_not_finite(trial) if not_finite(trial) else trial
    return trials


def not_finite(trial: TrialRecord) -> dict[str, float | None]:
    """Return the figures of a finished trial that are NaN or infinite, by name."""
    found = {f"{part}_{name}": value for (part, name), value in trial.final_scores().items() if not finite(value)}
    if not finite(trial.seconds_per_step):
        found["seconds_per_step"] = trial.seconds_per_step
    return found


def _without_not_finite(trial: TrialRecord) -> TrialRecord:
    scores = tuple(row if finite(row.value) else replace(row, value=None) for row in trial.scores)
    seconds = trial.seconds_per_step if finite(trial.seconds_per_step) else None
    return replace(trial, scores=scores, seconds_per_step=seconds)


def finite(value: float | None) -> bool:
    """Return True if a figure is a finite number, or absent."""
    return value is None or math.isfinite(value)


def with_losses(
    arm: ArrayLike, control: ArrayLike, chance: float, better: Literal["higher", "lower"] = "higher"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of pairs with the NaN of diverged trials replaced.

    A diverged trial counts as chance, or as its partner if that is worse: an arm must not seem to help by diverging
    beside a control that is worse than chance. If both diverged, both stay NaN, and the pair is left out.

    Args:
        arm: Values of the arm, of any shape.
        control: Values of the control, of the same shape.
        chance: Value of guessing; NaN leaves out every pair with a trial that diverged.
        better: Direction that is an improvement.

    Example:
        >>> arm, control = with_losses([97, np.nan, np.nan, np.nan], [96, 96, 8, np.nan], chance=10.0)
        >>> (arm - control).tolist()
        [1.0, -86.0, 0.0, nan]
    """
    arm, control = np.broadcast_arrays(np.asarray(arm, dtype=np.float64), np.asarray(control, dtype=np.float64))
    worse = np.minimum if better == "higher" else np.maximum
    return (
        np.where(np.isnan(arm), worse(chance, control), arm),
        np.where(np.isnan(control), worse(chance, arm), control),
    )


def worst_of(
    arm: Sequence[float], control: Sequence[float], chance: float, better: Literal["higher", "lower"] = "higher"
) -> float:
    """Return what a diverged run counts with where runs are not paired: chance, or the worst run that trained.

    The rule treats both arms alike, so that the permutation test stays exact.

    Example:
        >>> worst_of([97.0, 96.0], [95.0], chance=10.0), worst_of([97.0, 96.0], [8.0], chance=10.0)
        (10.0, 8.0)
    """
    return (min if better == "higher" else max)([chance, *arm, *control])


def pair(
    arm: Mapping[int, TrialRecord],
    control: Mapping[int, TrialRecord],
    metric: Metric,
    *,
    chance: float | None,
    target: float | None,
) -> Pairs:
    """Pair the trials of an arm and its control by seed.

    Args:
        arm: Finished trials of the arm by seed.
        control: Finished trials of the control by seed.
        metric: Figure to compare.
        chance: Value of a diverged trial, see `with_losses`; None leaves out pairs with such a trial.
        target: Validation score that `steps_to_target` waits for.
    """
    both = sorted(arm.keys() & control.keys())
    measured = [
        (seed, _value(arm[seed], metric, target), _value(control[seed], metric, target))
        for seed in both
        if not (metric.same_environment and arm[seed].environment != control[seed].environment)
    ]
    known = [(seed, a, c) for seed, a, c in measured if a is not None and c is not None]
    values, controls = with_losses(
        [a for _, a, _ in known], [c for _, _, c in known], math.nan if chance is None else chance, metric.better
    )
    pairs = [
        (seed, float(a), float(c))
        for (seed, _, _), a, c in zip(known, values, controls, strict=True)
        if not math.isnan(a - c)
    ]
    return Pairs(
        seeds=tuple(seed for seed, _, _ in pairs),
        control_seeds=tuple(seed for seed, _, _ in pairs),
        arm=tuple(a for _, a, _ in pairs),
        control=tuple(c for _, _, c in pairs),
        converged=Design(sum(not (arm[seed].diverged or control[seed].diverged) for seed, _, _ in pairs)),
        finished=len(both),
        control_finished=len(both),
        diverged=sum(arm[seed].diverged for seed in both),
        control_diverged=sum(control[seed].diverged for seed in both),
        both_diverged=sum(arm[seed].diverged and control[seed].diverged for seed in both),
        censored=sum(_bounded(arm[seed], a, metric) or _bounded(control[seed], c, metric) for seed, a, c in pairs),
    )


def runs(
    arm: Mapping[int, TrialRecord],
    control: Mapping[int, TrialRecord],
    metric: Metric,
    *,
    chance: float | None,
    target: float | None,
) -> Runs:
    """Return the values of an arm and its control as runs that are not paired; see `pair` for the arguments.

    A diverged trial counts with `worst_of`. Without a trial that trained, nothing is known of either arm. Metrics that
    only compare within an environment need one environment in all runs.
    """
    trained = [_measured(trials, metric, target) for trials in (arm, control)]
    values = [dict(each) for each in trained]
    environments = {trial.environment for trials in (arm, control) for trial in trials.values()}
    if chance is not None:
        worst = worst_of([*trained[0].values()], [*trained[1].values()], chance, metric.better)
        for each, trials in zip(values, (arm, control), strict=True):
            each |= {seed: worst for seed, trial in trials.items() if trial.diverged}
    if not any(trained) or not all(values) or (metric.same_environment and len(environments) > 1):
        values, trained = [{}, {}], [{}, {}]
    ones, others = (dict(sorted(each.items())) for each in values)
    return Runs(
        seeds=tuple(ones),
        control_seeds=tuple(others),
        arm=tuple(ones.values()),
        control=tuple(others.values()),
        converged=Design(len(trained[0]), len(trained[1])),
        finished=len(arm),
        control_finished=len(control),
        diverged=sum(trial.diverged for trial in arm.values()),
        control_diverged=sum(trial.diverged for trial in control.values()),
        both_diverged=0,
        censored=sum(
            _bounded(trials[seed], value, metric)
            for trials, each in zip((arm, control), trained, strict=True)
            for seed, value in each.items()
        ),
    )


def _measured(trials: Mapping[int, TrialRecord], metric: Metric, target: float | None) -> dict[int, float]:
    """Return the values of the trials that trained, by seed."""
    values = {seed: metric.measure(trial, target) for seed, trial in trials.items() if not trial.diverged}
    return {seed: value for seed, value in values.items() if value is not None}


def _value(trial: TrialRecord, metric: Metric, target: float | None) -> float | None:
    return math.nan if trial.diverged else metric.measure(trial, target)


def _bounded(trial: TrialRecord, measured: float, metric: Metric) -> bool:
    return metric.limit is not None and measured > metric.limit(trial)
