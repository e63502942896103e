"""Sign-flip test of the symmetry of paired differences about zero."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT_LIMIT = 32  # pairs; 2**16 sums in each half below
_SIGNS = 17  # independent sign patterns that generate the group beyond: 131,072 patterns
TIE = 1e-9  # relative to the sum of |differences|: far above rounding, far below one test image


def sign_flip_p(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p value of the sign-flip (paired permutation) test of the mean, over the last axis.

    Under the null hypothesis that arm and control are exchangeable within a seed, each difference is as likely
    as its negative. p is the share of the 2**n sign patterns whose |sum| is at least the observed one, so it
    cannot fall below 2 / 2**n. Sums that differ by rounding alone count as ties; all differences 0 give 1. Neither
    the order of the differences nor their direction matters.

    All patterns are counted up to 32 pairs. Beyond, p is the share over the 131,072 products of 17 patterns drawn with
    a fixed seed. They form a group, so that the test is exact, too (Hemerik and Goeman 2018), and p is as close to the
    share over all patterns as with so many independent draws, since any two of them are independent.

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
    test = _exact if n <= EXACT_LIMIT else _in_group
    return np.array([test(row) for row in array.reshape(-1, n)]).reshape(array.shape[:-1])


def _bound(differences: NDArray[np.float64]) -> float:
    return abs(math.fsum(differences)) - TIE * math.fsum(np.abs(differences))


def _exact(differences: NDArray[np.float64]) -> float:
    # Meet in the middle: every pattern's sum is one of the left half's sums plus one of the right half's, so
    # sorting one half counts all 2**n of them in about 2**(n/2) steps. A pattern and its opposite have the same
    # |sum|, so the first sign stays fixed.
    # All patterns need only the absolute values. Sorting them makes the result independent of the order of the seeds.
    bound, sizes = _bound(differences), np.sort(np.abs(differences))
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


def _in_group(differences: NDArray[np.float64]) -> float:
    # Each pair has a random code of 17 bits, its sign in each of the generating patterns. The sum of a product of
    # patterns depends only on the sums of the differences with equal codes: it is one of their Walsh-Hadamard
    # coefficients, all of which a fast transform has in 17 passes. Sorting in the direction of the sum makes the
    # result independent of the order of the seeds and of the direction; codes are as random for one order as for any.
    bound = _bound(differences)
    if bound <= 0:
        return 1.0
    ordered = np.sort(differences if math.fsum(differences) > 0 else -differences)
    codes = np.random.default_rng(0).integers(0, 2**_SIGNS, size=len(ordered))
    sums = np.bincount(codes, weights=ordered, minlength=2**_SIGNS)
    for bit in range(_SIGNS):
        halves = sums.reshape(-1, 2, 2**bit)
        sums = np.stack((halves[:, 0] + halves[:, 1], halves[:, 0] - halves[:, 1]), axis=1)
    share: float = np.count_nonzero(np.abs(sums) >= bound) / 2**_SIGNS
    return share
