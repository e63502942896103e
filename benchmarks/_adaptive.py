"""Simulated adaptive studies for benchmarks/coverage.py: verdicts at each look, and numbers of seeds."""

from __future__ import annotations

from itertools import product

import numpy as np
from _shapes import Array
from scipy import special

from slopewise.analysis import holm, interval_shares, mean_interval, sequential_p, verdict
from slopewise.analysis._power import Design
from slopewise.analysis._verdict import ALPHA

MARGIN = 0.5  # points, the default of a study
LOOKS = (10, 16, 24, 40)
ARMS = 4
FALSE_SHAPES = (
    "normal",
    "skewed",
    "grid 1/360",
    "ceiling 1/360",
    "10 % missing",
    "10 % diverge in all",
    "arms skewed",
    "control skewed",
    "arms log-normal",
    "control log-normal",
)
POWER_SHAPES = ("normal", "skewed", "grid 1/360", "10 % missing", "arms skewed", "control skewed")
POWER_SHIFTS = tuple(factor * MARGIN for factor in (-1, 0.5, 1, 2))
TINY = 0.05  # points: a margin so small that no arm stops for "no practical effect"
ROWS = (  # shape, shift and margin
    *product(FALSE_SHAPES, (0,), (MARGIN, TINY)),
    *product(POWER_SHAPES, POWER_SHIFTS, (MARGIN,)),
)


def judge_looks(
    d: Array, converged: Array, resolution: float, looks: tuple[int, ...], margin: float
) -> tuple[Array, Array]:
    """Return the verdict on each contrast of adaptive studies, and the number of seeds until then.

    An arm that has a verdict at a look gets no further seeds; its p value and interval stay those of that look.

    Args:
        d: Differences of shape (studies, arms, seeds), NaN for a missing pair.
        converged: Mask of the pairs in which both trained, of the same shape.
        resolution: Points that one test image is worth.
        looks: Numbers of seeds of all looks; a single look stands for a fixed study.
        margin: Smallest difference that matters, in points.
    """
    size = d.shape[:2]
    low, high, p = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.nan)
    seeds, enough = np.zeros(size, int), np.zeros(size, bool)
    words = np.full(size, "inconclusive", dtype="<U20")
    for n, share in zip(looks, interval_shares(looks), strict=True):
        going = words == "inconclusive"
        seeds[going], p[going] = n, np.nan
        low[going], high[going] = _intervals(d[going][:, :n], 1 - ALPHA * share, resolution)
        counts = converged[going][:, :n].sum(-1)
        enough[going] = np.vectorize(lambda count: Design(count).enough(size[1]), otypes=[bool])(counts)
        # Without an interval that excludes 0, no p value changes a verdict of the study.
        matters = ((low > 0) | (high < 0)).any(axis=1)
        for study, arm in np.argwhere(matters[:, None] & np.isnan(p)):
            p[study, arm] = sequential_p(np.nan_to_num(d[study, arm, : seeds[study, arm]]), looks)
        p_holm = holm(np.where(np.isnan(p), 1.0, p))
        words = verdict(low, high, p_holm, margin=margin, better="higher", enough=enough)
    return words, seeds


def joint_coverage(d: Array, truth: float, resolution: float) -> dict[str, float]:
    """Return the fraction of rows whose intervals contain the truth at all looks, for the package's and Student's."""
    held = {"t and Hall's": np.ones(len(d), bool), "t": np.ones(len(d), bool)}
    for n, share in zip(LOOKS, interval_shares(LOOKS), strict=True):
        level = 1 - ALPHA * share
        mean, count = np.nanmean(d[:, :n], axis=1), (~np.isnan(d[:, :n])).sum(axis=1)
        half = special.stdtrit(count - 1, (1 + level) / 2) * np.nanstd(d[:, :n], axis=1, ddof=1) / np.sqrt(count)
        ends = {"t and Hall's": _intervals(d[:, :n], level, resolution), "t": (mean - half, mean + half)}
        for name, (low, high) in ends.items():
            held[name] &= (low <= truth + 1e-9) & (truth - 1e-9 <= high)
    return {name: float(rows.mean()) for name, rows in held.items()}


def _intervals(d: Array, level: float, resolution: float) -> tuple[Array, Array]:
    """Return the interval of each row; NaN for rows with fewer than two pairs."""
    low, high = np.full(len(d), np.nan), np.full(len(d), np.nan)
    known = (~np.isnan(d)).sum(-1)
    for count in np.unique(known[known > 1]):
        index = np.flatnonzero(known == count)
        rows = d[index][~np.isnan(d[index])].reshape(-1, count)
        low[index], high[index] = mean_interval(rows, level, resolution=resolution)
    return low, high
