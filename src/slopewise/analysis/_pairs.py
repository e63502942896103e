"""Values of an arm and the control in each seed, the values of diverged trials, and the seeds that are no pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slopewise.analysis._metrics import Metric
from slopewise.records import StudyRecord, TrialRecord

Trials = Mapping[str, Mapping[int, TrialRecord]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of one contrast.

    Attributes:
        seeds: Seeds of the pairs, ascending; in each at least one of the two trials has a value of its own.
        arm, control: Values of the arm and of the control, one for each seed.
        converged: Number of these seeds in which neither trial diverged.
        finished: Number of seeds in which both trials finished, diverged or not.
        diverged, control_diverged: Number of the finished seeds in which the arm's, or the control's, trial diverged.
        both_diverged: Number of the finished seeds in which both trials diverged.
        censored: Number of pairs in which a value is only a bound.
    """

    seeds: tuple[int, ...]
    arm: tuple[float, ...]
    control: tuple[float, ...]
    converged: int
    finished: int
    diverged: int
    control_diverged: int
    both_diverged: int
    censored: int

    @property
    def differences(self) -> tuple[float, ...]:
        """Arm minus control in each seed."""
        return tuple(arm - control for arm, control in zip(self.arm, self.control, strict=True))


def finished_trials(study: StudyRecord) -> dict[str, dict[int, TrialRecord]]:
    """Return finished trials by arm and seed; every arm of the study and its control have an entry.

    NaN and infinite figures of a trial count as missing.
    """
    trials: dict[str, dict[int, TrialRecord]] = {arm: {} for arm in (*study.arms, study.control)}
    for trial in study.trials:
        if trial.status == "finished":
            trials[trial.arm][trial.seed] = _without_not_finite(trial) if not_finite(trial) else trial
    return trials


def not_finite(trial: TrialRecord) -> dict[str, float]:
    """Return the figures of a finished trial that are NaN or infinite, by name."""
    figures = {f"{row.part}_{row.metric}": row.value for row in trial.scores if row.epoch is None}
    figures["seconds_per_step"] = trial.seconds_per_step
    return {name: value for name, value in figures.items() if value is not None and not finite(value)}


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

    def value(trial: TrialRecord) -> float | None:
        return math.nan if trial.diverged else metric.measure(trial, target)

    def bounded(trial: TrialRecord, measured: float) -> bool:
        return metric.limit is not None and measured > metric.limit(trial)

    both = sorted(arm.keys() & control.keys())
    measured = [
        (seed, value(arm[seed]), value(control[seed]))
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
        arm=tuple(a for _, a, _ in pairs),
        control=tuple(c for _, _, c in pairs),
        converged=sum(not (arm[seed].diverged or control[seed].diverged) for seed, _, _ in pairs),
        finished=len(both),
        diverged=sum(arm[seed].diverged for seed in both),
        control_diverged=sum(control[seed].diverged for seed in both),
        both_diverged=sum(arm[seed].diverged and control[seed].diverged for seed in both),
        censored=sum(bounded(arm[seed], a) or bounded(control[seed], c) for seed, a, c in pairs),
    )
