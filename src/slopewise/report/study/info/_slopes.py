"""Slopes of each layer over training, over the seeds in which training converged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from slopewise.drawing import number
from slopewise.records import SiteRecord, StudyRecord


@dataclass(frozen=True, slots=True)
class SlopePath:
    """Slopes of one arm in one layer by epoch: the median of the seeds' medians, and the lowest and highest slope."""

    epochs: tuple[int, ...]
    middle: tuple[float, ...]
    ends: tuple[tuple[float, float], ...]


def slope_paths(study: StudyRecord) -> dict[str, dict[str, SlopePath]]:
    """Return the paths by layer and arm; layers in the model's order, as the records have them."""
    sites: dict[str, dict[str, dict[int, list[SiteRecord]]]] = {}
    for trial in study.trials:
        for site in trial.sites if not trial.diverged else ():
            if site.slope_median is not None:
                by_epoch = sites.setdefault(site.layer, {}).setdefault(trial.arm, {})
                by_epoch.setdefault(site.epoch, []).append(site)
    return {layer: {arm: _slope_path(by_epoch) for arm, by_epoch in arms.items()} for layer, arms in sites.items()}


def _slope_path(by_epoch: Mapping[int, list[SiteRecord]]) -> SlopePath:
    epochs = tuple(sorted(by_epoch))
    return SlopePath(
        epochs,
        tuple(median(s.slope_median for s in by_epoch[e] if s.slope_median is not None) for e in epochs),
        tuple(
            (
                min(s.slope_min for s in by_epoch[e] if s.slope_min is not None),
                max(s.slope_max for s in by_epoch[e] if s.slope_max is not None),
            )
            for e in epochs
        ),
    )


def slope_table(study: StudyRecord) -> tuple[tuple[str, ...], ...]:
    """Return rows of layer, arm, first median, last median, last lowest and last highest slope."""
    return tuple(
        (layer, arm, *(number(value, 3) for value in (path.middle[0], path.middle[-1], *path.ends[-1])))
        for layer, arms in slope_paths(study).items()
        for arm, path in arms.items()
    )
