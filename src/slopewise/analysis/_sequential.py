"""Group-sequential sign-flip test of paired differences, for studies that look at their results several times."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slopewise.analysis._signflip import TIE
from slopewise.analysis._verdict import ALPHA

_BITS = 15  # 2**15 sign patterns with the first sign fixed: all of them up to 16 seeds
_SALT = 420  # any five of the first 48 columns are independent, see `columns`
_ROUNDING = 1e-9  # far above the rounding of a budget, far below the steps in which levels grow


def level_shares(looks: Sequence[int]) -> NDArray[np.float64]:
    """Return the share of a test's level that each look spends: the increments of f(t) = t**2 from look to look.

    Args:
        looks: Numbers of seeds at all looks, ascending; t is the number of seeds divided by the last one.

    Example:
        >>> level_shares((10, 16, 24, 40)).round(4).tolist()
        [0.0625, 0.0975, 0.2, 0.64]
    """
    return np.diff((np.asarray(looks, dtype=np.float64) / looks[-1]) ** 2, prepend=0.0)


def interval_shares(looks: Sequence[int]) -> NDArray[np.float64]:
    """Return the share of 0.05 that the interval of each look spends, in proportion to the look's new seeds.

    Args:
        looks: Numbers of seeds at all looks, ascending.

    Example:
        >>> interval_shares((10, 16, 24, 40)).round(4).tolist()
        [0.25, 0.15, 0.2, 0.4]
    """
    return np.diff(np.asarray(looks, dtype=np.float64) / looks[-1], prepend=0.0)


def sequential_p(differences: ArrayLike, looks: Sequence[int]) -> float:
    """Return the two-sided p value of the group-sequential sign-flip test after the looks taken so far.

    **The test at a level alpha.** Under the null hypothesis each difference is as likely as its negative, at every look
    at once. A fixed group of M = 2**16 sign patterns (`columns`) stands for all of them; for up to 16 seeds it contains
    every pattern. Look k, with the share s of the level (`level_shares`), may remove up to b = floor(alpha * s * M)
    patterns. It removes a pattern if at most b of the remaining patterns, itself included, have a ``|sum|`` at least as
    large. Sums that differ only by rounding count as equal, so ties are removed or kept together. The test rejects if
    the observed pattern (no flips) is removed.

    **It is exact.** If the observed signs were different, the observed pattern would be another element of the same
    group, and the same patterns would be removed. Given the absolute differences, it is therefore removed with a
    probability equal to the removed fraction of the group, which is at most alpha. No patterns are drawn at random
    (Hemerik and Goeman 2018).

    **p** is the smallest alpha at which the observed pattern has been removed. It is well defined because the set of
    removed patterns grows with alpha. To see this, take two levels, and suppose that before look k the larger level has
    removed every pattern that the smaller one has. Let the smaller level remove a pattern at look k, and suppose that
    the larger level has not removed it earlier. Then the larger level removes it now: no more of its remaining patterns
    are at least as extreme, and its budget is no smaller, since no budget is carried over from look to look. As removed
    patterns stay removed, p never grows with further looks.

    Whenever a study stops, P(p <= alpha) <= alpha. Holm's correction of such p values is the procedure of Maurer and
    Bretz (2013), which tests the remaining hypotheses again, at all looks so far, whenever one is rejected.

    With a single look, p equals that of `sign_flip_p` for up to 16 differences; for more, it is an estimate of it from
    2**16 fixed patterns.

    Args:
        differences: Differences in the order of the study's seeds, as many as one of the looks; 0 for a missing pair.
        looks: Numbers of seeds of all planned looks, ascending.

    Returns:
        p value in (0, 1].

    Raises:
        ValueError: The looks are not ascending, or none has as many seeds as there are differences.

    Example:
        >>> sequential_p([0.3, 0.8, 0.5, 1.1, 0.2, 0.4, 0.9, 0.6], looks=(8, 12))
        0.017578125
    """
    values = np.asarray(differences, dtype=np.float64)
    if not looks or looks[0] < 1 or any(one >= other for one, other in pairwise(looks)):
        raise ValueError(f"looks must be ascending numbers of seeds, got {tuple(looks)}")
    if len(values) not in looks:
        raise ValueError(
            f"no look has {len(values)} seeds, as many as differences: looks are at {', '.join(map(str, looks))}"
        )
    taken = [n for n in looks if n <= len(values)]
    shares = level_shares(looks)[: len(taken)]
    sizes = np.abs([pattern_sums(values[:n]) for n in taken])
    ties = [TIE * math.fsum(np.abs(values[:n])) for n in taken]
    # Number of patterns at least as extreme as the observed one, at each look by itself. Level `enough` removes the
    # observed pattern even if all of them remain; below `least`, not even the budgets of all looks so far would do.
    extreme = np.array([np.count_nonzero(s >= s[0] - tie) for s, tie in zip(sizes, ties, strict=True)])
    enough = float((extreme / shares).min()) / 2**_BITS
    least = float((extreme / np.cumsum(shares)).min()) / 2**_BITS
    if least > 1:
        return 1.0
    most = min(1.0, enough) * 2**_BITS
    ranked = [
        _ranked(s, tie, math.floor(most * spent) + 1)
        for s, tie, spent in zip(sizes, ties, np.cumsum(shares), strict=True)
    ]
    # The budget of a look changes only at levels that are multiples of 1 / share.
    steps = [np.arange(math.floor(most * s + _ROUNDING)) + 1 for s in shares]
    levels = np.unique(np.concatenate([count / s for count, s in zip(steps, shares, strict=True)])) / 2**_BITS
    levels = levels[levels >= least * (1 - _ROUNDING)]
    first, last = 0, len(levels)  # levels below `first` keep the observed pattern, those from `last` on remove it
    while first < last:
        middle = (first + last) // 2
        if _removed(ranked, levels[middle] * shares * 2**_BITS + _ROUNDING):
            last = middle
        else:
            first = middle + 1
    return float(levels[first]) if first < len(levels) else 1.0


def first_deciding_look(looks: Sequence[int], tests: int) -> int | None:
    """Return the first look at which a p value can survive Holm's first step, 0.05 / tests; None if there is none.

    The smallest p value of a look at n seeds, reached if all differences have one sign, is 2 / 2**min(n, 16) divided by
    the look's share of the level.

    Args:
        looks: Numbers of seeds of all planned looks, ascending.
        tests: Number of contrasts that share the error rate.

    Example:
        >>> [first_deciding_look((10, 16, 24, 40), tests) for tests in (1, 4)]
        [10, 16]
    """
    for n, share in zip(looks, level_shares(looks), strict=True):
        if 2.0 ** (1 - min(n, _BITS + 1)) / share <= ALPHA / tests:
            return n
    return None


def pattern_sums(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the sum of the differences under each sign pattern with the first sign fixed, the observed one first.

    Pattern x flips each difference whose column has an odd number of ones in common with x. The sums are therefore the
    Walsh-Hadamard transform of the differences, each placed at the index of its column.

    Returns:
        Sums of shape (2**15,).

    Example:
        >>> sums = pattern_sums([1.0, 2.0, 4.0])
        >>> sums[:4].tolist(), np.unique(sums).tolist()
        ([7.0, 3.0, -1.0, -5.0], [-5.0, -1.0, 3.0, 7.0])
    """
    values = np.asarray(differences, dtype=np.float64)
    sums = np.zeros(2**_BITS)
    np.add.at(sums, columns(len(values)), values)
    for bit in range(_BITS):
        one, other = np.moveaxis(sums.reshape(-1, 2, 2**bit), 1, 0)
        sums = np.stack((one + other, one - other), axis=1)
    return sums.reshape(-1)


@cache
def columns(n: int) -> NDArray[np.intp]:
    """Return the columns, one per seed, of the linear code over GF(2) whose words are the sign patterns.

    The patterns are the sums (exclusive or) of 16 generators in systematic form [I | R], so that on the first 16 seeds
    each of the 2**16 possible patterns occurs once. Each further column comes from a digest of the seed's position, so
    that patterns do not depend on the number of seeds that follow. All columns have an odd number of ones, so that the
    opposite of a pattern is a pattern, too; the columns returned leave out the first row, which keeps one pattern of
    each such pair. The salt of the digests is chosen such that any five of the first 48 columns are independent: for
    up to 48 seeds, the sums have the same first five moments as the sums over all 2**n patterns.

    Example:
        >>> columns(5).tolist()
        [0, 1, 2, 4, 8]
    """
    systematic = [0, *(1 << bit for bit in range(_BITS))]
    drawn = (hashlib.sha256(f"{_SALT} {seed}".encode()).digest()[:2] for seed in range(len(systematic), n))
    return np.array([*systematic[:n], *(int.from_bytes(digest, "big") >> 1 for digest in drawn)], dtype=np.intp)


_Ranked = tuple[NDArray[np.intp], NDArray[np.intp]]


def _ranked(sizes: NDArray[np.float64], tie: float, count: int) -> _Ranked:
    """Return the most extreme patterns of a look, and for each the number of patterns at least as extreme.

    Args:
        sizes: Absolute sums of all patterns.
        tie: Largest difference between sums that count as equal.
        count: Number of patterns to rank; no level of interest removes more.
    """
    if count < len(sizes):
        bound = np.partition(sizes, len(sizes) - count)[len(sizes) - count] - tie
        extreme = np.flatnonzero(sizes >= bound)
    else:
        extreme = np.arange(len(sizes))
    order = extreme[np.argsort(-sizes[extreme], kind="stable")]
    return order, np.searchsorted(-sizes[order], -sizes[order] + tie, side="right")


def _removed(ranked: Sequence[_Ranked], budgets: NDArray[np.float64]) -> bool:
    """Return True if looks with these budgets (counts of patterns, first sign fixed) remove the observed one."""
    living = np.ones(2**_BITS, dtype=bool)
    for (order, reach), budget in zip(ranked, budgets, strict=True):
        at_least = np.cumsum(living[order])[reach - 1]
        living[order[: np.searchsorted(at_least, math.floor(budget), side="right")]] = False
    return not living[0]
