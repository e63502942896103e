"""Sign-flip test of the symmetry of paired differences about zero."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT_LIMIT = 32  # pairs; 2**16 sums in each half below
_DRAWS = 99_999
TIE = 1e-9  # relative to the sum of |differences|: far above rounding, far below one test image


def sign_flip_p(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p value of the sign-flip (paired permutation) test of the mean, over the last axis.

    Under the null hypothesis that arm and control are exchangeable within a seed, each difference is as likely
    as its negative. p is the share of the 2**n sign patterns whose |sum| is at least the observed one, so it
    cannot fall below 2 / 2**n. Sums that differ by rounding alone count as ties; all differences 0 give 1. Neither
    the order of the differences nor their direction matters.

    All patterns are counted up to 32 pairs. Beyond, p = (b + 1) / (m + 1) over m = 99,999 patterns drawn with a
    fixed seed (Phipson and Smyth 2010), which is a valid test too.

    Args:
        differences: Numbers of shape (..., n) with n >= 1.

    Returns:
        p values of shape (...), in (0, 1].

    Example:
        >>> float(sign_flip_p([0.3, 0.8, 0.5, 1.1, 0.2]))
        0.0625
    """
    array = np.asarray(differences, dtype=np.float64)
    n = array.shape[-1]
    test = _exact if n <= EXACT_LIMIT else _sampled
    # Patterns need only the absolute values. Sorting them makes the result independent of the order of the seeds.
    sizes = np.sort(np.abs(array.reshape(-1, n)), axis=-1)
    sums = [abs(math.fsum(row)) for row in array.reshape(-1, n)]
    return np.array([test(*pair) for pair in zip(sizes, sums, strict=True)]).reshape(array.shape[:-1])


def _bound(sizes: NDArray[np.float64], total: float) -> float:
    return total - TIE * math.fsum(sizes)


def _exact(sizes: NDArray[np.float64], total: float) -> float:
    # Meet in the middle: every pattern's sum is one of the left half's sums plus one of the right half's, so
    # sorting one half counts all 2**n of them in about 2**(n/2) steps. A pattern and its opposite have the same
    # |sum|, so the first sign stays fixed.
    bound = _bound(sizes, total)
    if bound <= 0:
        return 1.0
    half = (len(sizes) + 1) // 2
    left, right = sizes[:1], np.zeros(1)
    for value in sizes[1:half]:
        left = np.concatenate((left - value, left + value))
    for value in sizes[half:]:
        right = np.concatenate((right - value, right + value))
    right.sort()
    above = len(right) - np.searchsorted(right, bound - left, side="left")
    below = np.searchsorted(right, -bound - left, side="right")
    return float((above.sum() + below.sum()) / (len(left) * len(right)))


def _sampled(sizes: NDArray[np.float64], total: float) -> float:
    bound = _bound(sizes, total)
    rng = np.random.default_rng(0)
    exceeding = 0
    for start in range(0, _DRAWS, 10_000):
        signs = rng.integers(0, 2, size=(min(10_000, _DRAWS - start), len(sizes)), dtype=np.int8)
        sums = 2 * (signs @ sizes) - sizes.sum()
        exceeding += int(np.count_nonzero(np.abs(sums) >= bound))
    return (exceeding + 1) / (_DRAWS + 1)
