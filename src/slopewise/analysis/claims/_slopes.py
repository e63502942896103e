"""Final slopes of a trial, layer by layer."""

from __future__ import annotations

import math
import statistics

from slopewise.records import SiteRecord, TrialRecord


def final_sites(trial: TrialRecord) -> list[SiteRecord]:
    """Return the call sites with slopes after the last epoch, in the order of the forward pass."""
    last = max((site.epoch for site in trial.sites), default=0)
    return [site for site in trial.sites if site.epoch == last and site.slopes]


def medians(trial: TrialRecord) -> list[float]:
    """Return the median slope of each layer after the last epoch; empty if it is missing in any layer."""
    values = [site.slope_median for site in final_sites(trial)]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return finite if len(finite) == len(values) else []


def mean_slope(trial: TrialRecord) -> float | None:
    """Return the median slopes of the layers, averaged; None without slopes."""
    values = medians(trial)
    return statistics.fmean(values) if values else None


def mean_size(trial: TrialRecord) -> float | None:
    """Return the absolute median slopes of the layers, averaged; None without slopes."""
    values = medians(trial)
    return statistics.fmean(map(abs, values)) if values else None


def outside(trial: TrialRecord) -> float | None:
    """Return the fraction of all slopes that ended below 0 or above 1; None if the records do not have it."""
    sites = final_sites(trial)
    if not sites or any(site.slopes_below_0 is None or site.slopes_above_1 is None for site in sites):
        return None
    parts = [((site.slopes_below_0 or 0.0) + (site.slopes_above_1 or 0.0), site.slopes) for site in sites]
    return math.fsum(part * slopes for part, slopes in parts) / sum(slopes for _, slopes in parts)


def any_outside(trial: TrialRecord) -> bool | None:
    """Return True if any slope ended below 0 or above 1; None without slopes."""
    ends = [(site.slope_min, site.slope_max) for site in final_sites(trial)]
    ranges = [(low, high) for low, high in ends if low is not None and high is not None]
    return any(low < 0 or high > 1 for low, high in ranges) if ranges else None
