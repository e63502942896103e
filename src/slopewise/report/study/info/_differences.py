"""Differences of each arm from the control, seed by seed, and the part of the axis that shows them to scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slopewise.analysis import Contrast
from slopewise.report.study.info._study import StudyInfo


@dataclass(frozen=True, slots=True)
class Seed:
    """Seed of one lane: the difference, the values behind it, and whether the arm or the control diverged."""

    seed: int
    difference: float
    arm_value: float
    control_value: float
    diverged: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """One arm of the chart.

    Attributes:
        contrast: Contrast over all pairs.
        converged: Contrast over the pairs in which neither trial diverged; None if that is all of them, or none.
        seeds: Differences, in the contrast's order.
    """

    contrast: Contrast
    converged: Contrast | None
    seeds: tuple[Seed, ...]


@dataclass(frozen=True, slots=True)
class DifferenceInfo:
    """Lanes of the chart, and its axis.

    Attributes:
        lanes: Arms that have pairs.
        low, high: Ends of the part of the axis that is drawn to scale.
        margin: Smallest difference that matters.
    """

    lanes: tuple[Lane, ...]
    low: float
    high: float
    margin: float

    @property
    def below(self) -> bool:
        """True if seeds lie below the scale."""
        return any(seed.difference < self.low for lane in self.lanes for seed in lane.seeds)

    @property
    def above(self) -> bool:
        """True if seeds lie above the scale."""
        return any(seed.difference > self.high for lane in self.lanes for seed in lane.seeds)


def difference_info(info: StudyInfo) -> DifferenceInfo | None:
    """Return the differences of a study; None if no arm has a pair.

    A diverged trial counts as chance, so its difference may be far from all others. The scale is as wide as the
    margin, the pairs without a diverged trial, and their intervals.

    Example:
        >>> from slopewise.report.study.info._study import study_info
        >>> from slopewise.testing import synthetic_study
        >>> differences = difference_info(study_info(synthetic_study(("relu", "elu"), seeds=4, diverged={"elu": 1})))
        >>> [seed.diverged for seed in differences.lanes[0].seeds], differences.below
        ([True, False, False, False], True)
    """
    analysis, control = info.analysis, info.study.control
    diverged = {arm: {trial.seed for trial in info.diverged if trial.arm == arm} for arm in info.study.arms}
    converged = {contrast.arm: contrast for contrast in analysis.converged}
    lanes = []
    for contrast in analysis.primary:
        if not contrast.seeds:
            continue
        either = diverged[contrast.arm] | diverged[control]
        pairs = zip(contrast.seeds, contrast.differences, contrast.arm_values, contrast.control_values, strict=True)
        without = converged.get(contrast.arm)
        some = without is not None and 0 < len(without.seeds) < len(contrast.seeds)
        seeds = tuple(Seed(seed, gap, arm, other, seed in either) for seed, gap, arm, other in pairs)
        lanes.append(Lane(contrast, without if some else None, seeds))
    if not lanes:
        return None
    low, high = _scale(lanes, analysis.converged, analysis.margin)
    return DifferenceInfo(tuple(lanes), low, high, analysis.margin)


def _scale(lanes: Sequence[Lane], converged: Sequence[Contrast], margin: float) -> tuple[float, float]:
    shown = [0.0, margin, -margin]
    shown += [seed.difference for lane in lanes for seed in lane.seeds if not seed.diverged]
    for contrast in converged:
        shown += contrast.interval or ()
    pad = 0.06 * (max(shown) - min(shown))
    return min(shown) - pad, max(shown) + pad
