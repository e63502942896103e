"""Final slopes of a trial, layer by layer."""

from __future__ import annotations

import math
import statistics

from slopewise.analysis._sites import final_slopes
from slopewise.records import TrialRecord


def medians(trial: TrialRecord) -> list[float]:
    """Return the median slope of each layer after the last epoch; empty if it is missing in any layer."""
    values = [median for (median,) in final_slopes(trial, "slope_median")]
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
    sites = final_slopes(trial, "slopes", "slopes_below_0", "slopes_above_1")
    if not sites or any(below is None or above is None for _, below, above in sites):
        return None
    total: int = sum(slopes for slopes, _, _ in sites)
    return math.fsum((below + above) * slopes for slopes, below, above in sites) / total


def any_outside(trial: TrialRecord) -> bool | None:
    """Return True if any slope ended below 0 or above 1; None without slopes."""
    ends = final_slopes(trial, "slope_min", "slope_max")
    ranges = [(low, high) for low, high in ends if low is not None and high is not None]
    return any(low < 0 or high > 1 for low, high in ranges) if ranges else None
