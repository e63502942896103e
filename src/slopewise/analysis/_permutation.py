"""Exact permutation test of the difference of two means, for runs that are not paired."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT_LIMIT = 40  # runs of both arms together; 2**20 sums in each half below
_DRAWS = 99_999
_NUMBERS = 4_000_000  # that are drawn at a time
_Test = Callable[[NDArray[np.float64], int, float], float]  # (deviations, size of the arm, bound of |sum|) -> p
_TIE = 1e-9  # relative to the sum of |deviations|: far above rounding, far below one test image
_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # relative to the sum of |values|, for values with a large mean


def permutation_p(arm: ArrayLike, control: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p value of Fisher and Pitman's test of the difference of means, over the last axis.

    Under the null hypothesis that the runs of arm and control are exchangeable, each of the C(n + m, n) ways to split
    the runs into an arm of n and a control of m is equally likely. p is the share of the splits whose |difference of
    means| is at least the observed one, so it cannot fall below 1 / C(n + m, n), or 2 / C(2n, n) for n = m, where a
    split and its exchange are equally far from 0. Differences that are equal up to rounding count as ties; equal
    values in all runs give 1. Neither the order of the runs nor the direction of the difference matters.

    All splits are counted up to 40 runs. Beyond, p = (b + 1) / (k + 1) over k = 99,999 splits drawn with a fixed seed
    (Phipson and Smyth 2010), which is a valid test too.

    Args:
        arm: Values of shape (..., n) with n >= 1.
        control: Values of shape (..., m) with m >= 1 and the same leading axes.

    Returns:
        p values of shape (...), in (0, 1].

    Example:
        >>> float(permutation_p([31.2, 31.5, 31.1, 31.4], [30.9, 31.0, 30.8, 30.7]))  # 2 of 70 splits
        0.02857142857142857
    """
    one, other = np.asarray(arm, dtype=np.float64), np.asarray(control, dtype=np.float64)
    n, m = one.shape[-1], other.shape[-1]
    test = _exact if n + m <= EXACT_LIMIT else _sampled
    rows = zip(one.reshape(-1, n), other.reshape(-1, m), strict=True)
    return np.array([_row(test, *row) for row in rows]).reshape(one.shape[:-1])


def _row(test: _Test, arm: NDArray[np.float64], control: NDArray[np.float64]) -> float:
    # The sum of the smaller arm's deviations from the mean of all runs, -S for the other arm, decides a split: the
    # difference of means is S * (1 / n + 1 / m). Sorting makes the result independent of the order of the runs.
    values = np.sort(np.concatenate((arm, control)))
    mean = math.fsum(values) / len(values)
    deviations = values - mean
    smaller = arm if len(arm) <= len(control) else control
    total = abs(math.fsum(smaller - mean))
    tie = max(_TIE * math.fsum(np.abs(deviations)), _ROUNDING * math.fsum(np.abs(values)))
    return test(deviations, len(smaller), total - tie)


def _exact(deviations: NDArray[np.float64], size: int, bound: float) -> float:
    # Meet in the middle: every split's sum is that of some runs of the left half plus one of the right half's, and
    # their numbers add up to the arm's. Sorting one half counts all C(n + m, n) in about 2**((n + m) / 2) steps.
    if bound <= 0:
        return 1.0
    runs = len(deviations)
    half = (runs + 1) // 2
    left, right = _subset_sums(deviations[:half]), _subset_sums(deviations[half:])
    extreme = 0
    for chosen, indices in enumerate(_by_size(half)):
        if not 0 <= size - chosen <= runs - half:
            continue
        ones = np.sort(left[indices])  # sorted needles are found several times faster
        others = np.sort(right[_by_size(runs - half)[size - chosen]])
        above = len(others) - np.searchsorted(others, bound - ones, side="left")
        below = np.searchsorted(others, -bound - ones, side="right")
        extreme += int(above.sum() + below.sum())
    return extreme / math.comb(runs, size)


def _subset_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of every subset; bit k of an index tells if it holds value k."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums, sums + value))
    return sums


@cache
def _by_size(items: int) -> list[NDArray[np.intp]]:
    """Return the indices of the subsets of so many items, by the size of the subset."""
    sizes = np.zeros(1, dtype=np.int8)
    for _ in range(items):
        sizes = np.concatenate((sizes, sizes + np.int8(1)))
    return [np.flatnonzero(sizes == size) for size in range(items + 1)]


def _sampled(deviations: NDArray[np.float64], size: int, bound: float) -> float:
    rng = np.random.default_rng(0)
    extreme, runs = 0, len(deviations)
    at_once = max(100, min(10_000, _NUMBERS // runs))
    for start in range(0, _DRAWS, at_once):
        keys = rng.random((min(at_once, _DRAWS - start), runs), dtype=np.float32)
        chosen = np.argpartition(keys, size - 1, axis=1)[:, :size]
        extreme += int(np.count_nonzero(np.abs(deviations[chosen].sum(axis=1)) >= bound))
    return (extreme + 1) / (_DRAWS + 1)
