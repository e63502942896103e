"""Slopes of each layer over training, over the seeds in which training converged."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from slopewise.drawing import number
from slopewise.records import StudyRecord


@dataclass(frozen=True, slots=True)
class SlopePath:
    """Slopes of one arm in one layer by epoch: the median of the seeds' medians, and the lowest and highest slope."""

    epochs: tuple[int, ...]
    middle: tuple[float, ...]
    ends: tuple[tuple[float, float], ...]


def slope_paths(study: StudyRecord) -> dict[str, dict[str, SlopePath]]:
    """Return the paths by layer and arm; layers in the model's order, as the records have them."""
    sites: dict[str, dict[str, dict[int, _Slopes]]] = {}
    for trial in study.trials:
        if trial.diverged or all(middle is None for middle in trial.columns("sites", "slope_median")[0]):
            continue
        columns = trial.columns("sites", "layer", "epoch", "slope_median", "slope_min", "slope_max")
        for layer, epoch, middle, low, high in zip(*columns, strict=True):
            if middle is not None:
                slopes = sites.setdefault(layer, {}).setdefault(trial.arm, {}).setdefault(epoch, _Slopes())
                slopes.medians.append(middle)
                slopes.low = slopes.low if low is None else min(slopes.low, low)
                slopes.high = slopes.high if high is None else max(slopes.high, high)
    return {layer: {arm: _slope_path(by_epoch) for arm, by_epoch in arms.items()} for layer, arms in sites.items()}


@dataclass(slots=True)
class _Slopes:
    """Slopes of one arm in one layer after one epoch: the median of each seed, and the lowest and highest of all."""

    medians: array[float] = field(default_factory=lambda: array("d"))
    low: float = math.inf
    high: float = -math.inf


def _slope_path(by_epoch: Mapping[int, _Slopes]) -> SlopePath:
    epochs = tuple(sorted(by_epoch))
    slopes = [by_epoch[epoch] for epoch in epochs]
    return SlopePath(epochs, tuple(median(s.medians) for s in slopes), tuple((s.low, s.high) for s in slopes))


def slope_table(paths: Mapping[str, Mapping[str, SlopePath]]) -> tuple[tuple[str, ...], ...]:
    """Return rows of layer, arm, first median, last median, last lowest and last highest slope from `slope_paths`."""
    return tuple(
        (layer, arm, *(number(value, 3) for value in (path.middle[0], path.middle[-1], *path.ends[-1])))
        for layer, arms in paths.items()
        for arm, path in arms.items()
    )
