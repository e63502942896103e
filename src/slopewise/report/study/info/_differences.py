"""Differences of each arm from the control, seed by seed, and the part of the axis that shows them to scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from slopewise.analysis import Contrast
from slopewise.drawing import signed
from slopewise.report.study.info._study import StudyInfo


@dataclass(frozen=True, slots=True)
class Seed:
    """Dot of one lane: a seed, or a run that has no partner.

    Attributes:
        seed: Seed of the trials, or number of the run.
        difference: Difference from the control in the same seed; for a run, from the mean of the control's runs.
        arm_value: Value of the arm.
        control_value: Value of the control in the same seed; None for a run.
        diverged: True if the arm's or the control's trial diverged; for a run, if it did itself.
    """

    seed: int
    difference: float
    arm_value: float
    control_value: float | None
    diverged: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """One arm of the chart.

    Attributes:
        arm: Name of the arm.
        contrast: Contrast over all values; None for the control, whose own runs are shown beside unpaired arms.
        converged: Contrast without diverged trials; None if that is all of them, or none.
        seeds: Differences, in the contrast's order.
    """

    arm: str
    contrast: Contrast | None
    converged: Contrast | None
    seeds: tuple[Seed, ...]


@dataclass(frozen=True, slots=True)
class DifferenceInfo:
    """Lanes of the chart, and its axis.

    Attributes:
        lanes: Arms that have values.
        low, high: Ends of the part of the axis that is drawn to scale.
        margin: Smallest difference that matters.
        paired: True if every lane holds differences within a seed.
        digits: Number of decimals of the metric.
    """

    lanes: tuple[Lane, ...]
    low: float
    high: float
    margin: float
    paired: bool
    digits: int
    bins: ClassVar[int] = 80  # of the scale: dots less than this part of it apart cover each other

    @property
    def width(self) -> float:
        """Width of a bin of the scale."""
        return (self.high - self.low) / self.bins

    def bin_of(self, difference: float) -> int:
        """Return the number of a difference's bin: -1 below the scale, `bins` above it."""
        if self.low <= difference <= self.high:
            return min(int((difference - self.low) / self.width), self.bins - 1)
        return -1 if difference < self.low else self.bins

    def middle(self, place: int) -> float:
        """Return the middle of a bin."""
        return self.low + (place + 0.5) * self.width

    def bin_words(self, place: int) -> str:
        """Return the bin's differences in words, with a decimal more than the metric has."""
        ends = (self.middle(place) - self.width / 2, self.middle(place) + self.width / 2)
        low, high = (signed(end, self.digits + 1) for end in ends)
        return f"below {high}" if place < 0 else f"above {low}" if place >= self.bins else f"{low} to {high}"

    @property
    def below(self) -> bool:
        """True if seeds lie below the scale."""
        return any(seed.difference < self.low for lane in self.lanes for seed in lane.seeds)

    @property
    def above(self) -> bool:
        """True if seeds lie above the scale."""
        return any(seed.difference > self.high for lane in self.lanes for seed in lane.seeds)


def difference_info(info: StudyInfo) -> DifferenceInfo | None:
    """Return the differences of a study; None if no arm has a value beside the control.

    A diverged trial counts as chance, so its difference may be far from all others. The scale is as wide as the
    margin, the pairs without a diverged trial, and their intervals.

    Example:
        >>> from slopewise.report.study.info._study import study_info
        >>> from slopewise.testing import synthetic_study
        >>> differences = difference_info(study_info(synthetic_study(("relu", "elu"), seeds=4, diverged={"elu": 1})))
        >>> [seed.diverged for seed in differences.lanes[0].seeds], differences.below
        ([True, False, False, False], True)
    """
    analysis = info.analysis
    diverged = {arm: {trial.seed for trial in info.diverged if trial.arm == arm} for arm in info.study.arms}
    lanes = tuple(_lanes([c for c in analysis.primary if c.seeds], analysis.converged, diverged))
    if not lanes:
        return None
    low, high = _scale(lanes, analysis.converged, analysis.margin)
    paired = all(lane.contrast is not None and lane.contrast.paired for lane in lanes)
    return DifferenceInfo(lanes, low, high, analysis.margin, paired, info.study.primary.digits)


def _lanes(
    contrasts: Sequence[Contrast], converged: Sequence[Contrast], diverged: Mapping[str, Set[int]]
) -> Iterator[Lane]:
    without = {contrast.arm: contrast for contrast in converged}
    alone = {contrast.control: contrast for contrast in contrasts if not contrast.paired}
    for control, contrast in alone.items():
        values = dict(zip(contrast.control_seeds, contrast.control_values, strict=True))
        yield Lane(control, None, None, tuple(_runs(values, fmean(values.values()), diverged[control])))
    for contrast in contrasts:
        other = without.get(contrast.arm)
        some = other is not None and 0 < other.size < contrast.size
        yield Lane(contrast.arm, contrast, other if some else None, tuple(_dots(contrast, diverged)))


def _dots(contrast: Contrast, diverged: Mapping[str, Set[int]]) -> Iterator[Seed]:
    if not contrast.paired:
        values = dict(zip(contrast.seeds, contrast.arm_values, strict=True))
        yield from _runs(values, fmean(contrast.control_values), diverged[contrast.arm])
        return
    either = diverged[contrast.arm] | diverged[contrast.control]
    pairs = zip(contrast.seeds, contrast.differences, contrast.arm_values, contrast.control_values, strict=True)
    for seed, difference, arm, control in pairs:
        yield Seed(seed, difference, arm, control, seed in either)


def _runs(values: Mapping[int, float], mean: float, diverged: Set[int]) -> Iterator[Seed]:
    for seed, value in values.items():
        yield Seed(seed, value - mean, value, None, seed in diverged)


def _scale(lanes: Sequence[Lane], converged: Sequence[Contrast], margin: float) -> tuple[float, float]:
    shown = [0.0, margin, -margin]
    shown += [seed.difference for lane in lanes for seed in lane.seeds if not seed.diverged]
    for contrast in converged:
        shown += contrast.interval or ()
    pad = 0.06 * (max(shown) - min(shown))
    return min(shown) - pad, max(shown) + pad
