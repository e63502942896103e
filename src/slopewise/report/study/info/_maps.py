"""Sensitivity maps: scores of each arm at each learning rate and initial slope."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from slopewise.records import MetricRecord, StudyRecord, TrialRecord

INIT, RATE = "arm.options.init", "train.lr"  # settings of a map's cells


@dataclass(frozen=True, slots=True)
class Spot:
    """Trials of an arm at one learning rate and initial slope.

    Attributes:
        mean: Mean final score on the test part, in the printed unit; diverged trials count as chance, or are left out
            if the metric has no chance level. None without a score.
        shortfall: Absolute difference from the best mean of all maps; None if `mean` is None.
        finished, diverged: Numbers of finished trials, and of diverged trials among them.
    """

    mean: float | None
    shortfall: float | None
    finished: int
    diverged: int


@dataclass(frozen=True, slots=True)
class ArmMap:
    """Map of one arm.

    Attributes:
        arm: Name of the arm.
        slopes: Initial slopes, ascending; (None,) for an arm without learned slopes.
        spots: Spots by initial slope and learning rate.
    """

    arm: str
    slopes: tuple[float | None, ...]
    spots: dict[tuple[float | None, float], Spot]


@dataclass(frozen=True, slots=True)
class MapInfo:
    """Sensitivity maps of a study, on one scale.

    Attributes:
        metric: Primary metric of the study.
        rates: Learning rates, ascending, the same for all arms.
        arms: Maps, in the order of the study's arms.
        best: Best mean of all maps.
        seeds: Largest number of finished trials in a spot.
    """

    metric: MetricRecord
    rates: tuple[float, ...]
    arms: tuple[ArmMap, ...]
    best: float
    seeds: int

    @property
    def worst(self) -> float:
        """Largest shortfall of all maps."""
        spots = (spot for arm in self.arms for spot in arm.spots.values())
        return max((spot.shortfall for spot in spots if spot.shortfall is not None), default=0.0)


def map_info(study: StudyRecord) -> MapInfo | None:
    """Return the sensitivity maps of a study; None while no trial of a map has a score.

    Example:
        >>> from slopewise.testing import synthetic_study, with_cells
        >>> info = map_info(with_cells(synthetic_study(("relu", "prelu_shared"), seeds=2), lr=[0.1, 3.0], init=[0.25]))
        >>> [(arm.arm, arm.slopes) for arm in info.arms], info.rates
        ([('relu', (None,)), ('prelu_shared', (0.25,))], (0.1, 3.0))
        >>> info.arms[0].spots[None, 3.0].diverged
        3
    """
    metric = study.primary
    trials: dict[str, dict[tuple[float | None, float], list[TrialRecord]]] = {}
    for cell in study.cells_of("map"):
        place = cell.settings.get(INIT), cell.settings[RATE]
        for arm in cell.arms:
            trials.setdefault(arm, {})[place] = [t for t in cell.trials if t.arm == arm and t.status == "finished"]
    means = {arm: {place: _mean(metric, group) for place, group in spots.items()} for arm, spots in trials.items()}
    scores = [mean for spots in means.values() for mean in spots.values() if mean is not None]
    if not scores:
        return None
    best = max(scores) if metric.better == "higher" else min(scores)
    return MapInfo(
        metric,
        tuple(sorted({rate for spots in trials.values() for _, rate in spots})),
        tuple(_arm_map(arm, trials[arm], means[arm], best) for arm in study.arms if arm in trials),
        best,
        max(len(group) for spots in trials.values() for group in spots.values()),
    )


def _arm_map(
    arm: str,
    trials: Mapping[tuple[float | None, float], list[TrialRecord]],
    means: Mapping[tuple[float | None, float], float | None],
    best: float,
) -> ArmMap:
    spots = {
        place: Spot(
            mean, None if mean is None else abs(best - mean), len(trials[place]), sum(t.diverged for t in trials[place])
        )
        for place, mean in means.items()
    }
    slopes = sorted({slope for slope, _ in spots if slope is not None})
    return ArmMap(arm, tuple(slopes) or (None,), spots)


def _mean(metric: MetricRecord, trials: Iterable[TrialRecord]) -> float | None:
    scores = [metric.chance if trial.diverged else trial.score("test", metric.name) for trial in trials]
    finite = [metric.scale * score for score in scores if score is not None and math.isfinite(score)]
    return fmean(finite) if finite else None
