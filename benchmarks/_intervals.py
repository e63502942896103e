"""Candidates for the 95 % interval of a mean difference, for benchmarks/coverage.py; the package holds the chosen ones.

Those of pairs map (generator, differences of shape (studies, n)) to low and high; those of unpaired runs map the runs
of the arm and of the control.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from slopewise.analysis import difference_interval, mean_interval

Array = NDArray[np.float64]
Interval = tuple[Array, Array]

RESAMPLES = 1999
LEVEL = 0.95
CHOSEN = "t and Hall's"


def chosen(_: np.random.Generator, d: Array) -> Interval:
    return mean_interval(d, LEVEL)


def student_t(_: np.random.Generator, d: Array) -> Interval:
    n = d.shape[1]
    half = special.stdtrit(n - 1, (1 + LEVEL) / 2) * d.std(1, ddof=1) / np.sqrt(n)
    return d.mean(1) - half, d.mean(1) + half


def _resampled(rng: np.random.Generator, d: Array) -> tuple[Array, Array]:
    """Means and standard errors of bootstrap samples; the same draws serve every study."""
    n = d.shape[1]
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).T
    means = d @ counts / n
    squares = (d - d.mean(1, keepdims=True)) ** 2 @ counts / n - (means - d.mean(1, keepdims=True)) ** 2
    return means, np.sqrt(np.maximum(squares, 0) / (n - 1))


def percentile_bootstrap(rng: np.random.Generator, d: Array) -> Interval:
    means, _ = _resampled(rng, d)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1)
    return low, high


def bca_bootstrap(rng: np.random.Generator, d: Array) -> Interval:
    """Efron (1987): percentiles corrected for bias and for the skewness of the jackknife."""
    means, _ = _resampled(rng, d)
    mean = d.mean(1, keepdims=True)
    below = ((means < mean - 1e-12).mean(1) + (means <= mean + 1e-12).mean(1)) / 2
    bias = special.ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    influence = d - mean
    spread = np.maximum((influence**2).sum(1), 1e-12)
    acceleration = (influence**3).sum(1) / (6 * spread**1.5)
    means.sort(axis=1)
    ends = []
    for z in special.ndtri(((1 - LEVEL) / 2, (1 + LEVEL) / 2)):
        share = special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        index = np.clip(np.rint(share * (RESAMPLES + 1) - 1), 0, RESAMPLES - 1).astype(int)
        ends.append(np.take_along_axis(means, index[:, None], 1)[:, 0])
    return ends[0], ends[1]


def bootstrap_t(rng: np.random.Generator, d: Array) -> Interval:
    """Studentised: quantiles of (mean* - mean) / error*; unbounded where too many samples have no spread."""
    means, errors = _resampled(rng, d)
    mean, error = d.mean(1), d.std(1, ddof=1) / np.sqrt(d.shape[1])
    deviation = means - mean[:, None]
    deviation[np.abs(deviation) < 1e-9] = 0
    t = np.where(errors < 1e-9, np.copysign(np.inf, deviation), deviation / np.maximum(errors, 1e-9))
    t[(errors < 1e-9) & (deviation == 0)] = 0
    low, high = np.quantile(t, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1, method="nearest")
    error = np.maximum(error, 1e-12)
    return mean - high * error, mean - low * error


def sign_flip_inversion(rng: np.random.Generator, d: Array) -> Interval:
    """Every mean that the sign-flip test does not reject: order statistics of subset means (Hartigan 1969)."""
    n = d.shape[1]
    patterns = np.arange(1, 2**n) if n <= 10 else rng.choice(2**n - 1, RESAMPLES, replace=False) + 1
    subsets = (patterns[:, None] >> np.arange(n)) & 1
    means = np.sort(d @ (subsets / subsets.sum(1, keepdims=True)).T, axis=1)
    rank = int((1 - LEVEL) / 2 * (len(patterns) + 1))
    if rank == 0:  # 5 seeds: no p value is as small as 0.05
        return np.full(len(d), -np.inf), np.full(len(d), np.inf)
    return means[:, rank - 1], means[:, -rank]


CANDIDATES = {
    "t": student_t,
    CHOSEN: chosen,
    "percentile": percentile_bootstrap,
    "BCa": bca_bootstrap,
    "bootstrap-t": bootstrap_t,
    "sign-flip": sign_flip_inversion,
}


def welch(arm: Array, control: Array) -> Interval:
    n, m = arm.shape[1], control.shape[1]
    one, other = arm.var(1, ddof=1) / n, control.var(1, ddof=1) / m
    some = np.maximum(one + other, 1e-30)  # for equal values, a point
    freedom = some**2 / np.maximum(one**2 / (n - 1) + other**2 / (m - 1), 1e-60)
    half = special.stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(one + other)
    difference = arm.mean(1) - control.mean(1)
    return difference - half, difference + half


def chosen_of_runs(arm: Array, control: Array) -> Interval:
    return difference_interval(arm, control, LEVEL)


RUN_CHOSEN = "Welch and Hall's"
RUN_CANDIDATES = {"Welch": welch, RUN_CHOSEN: chosen_of_runs}
