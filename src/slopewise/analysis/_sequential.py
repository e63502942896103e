"""Group-sequential sign-flip test: one test of paired differences that is looked at several times."""

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
    """Return the share of a test's level that each look spends: f(t) = t**2 of the seeds, look by look.

    Args:
        looks: Numbers of seeds at which the study looks, ascending; t is their ratio to the last.

    Example:
        >>> level_shares((10, 16, 24, 40)).round(4).tolist()
        [0.0625, 0.0975, 0.2, 0.64]
    """
    return np.diff((np.asarray(looks, dtype=np.float64) / looks[-1]) ** 2, prepend=0.0)


def interval_shares(looks: Sequence[int]) -> NDArray[np.float64]:
    """Return the share of 0.05 that the interval of each look spends: in proportion to its new seeds.

    Example:
        >>> interval_shares((10, 16, 24, 40)).round(4).tolist()
        [0.25, 0.15, 0.2, 0.4]
    """
    return np.diff(np.asarray(looks, dtype=np.float64) / looks[-1], prepend=0.0)


def sequential_p(differences: ArrayLike, looks: Sequence[int]) -> float:
    """Return the two-sided p value of the group-sequential sign-flip test after the looks taken so far.

    **The test at a level alpha.** Under the null hypothesis each difference is as likely as its negative, at every look
    at once. A fixed group of M = 2**16 sign patterns (`columns`) takes the place of all; with at most 16 seeds it is
    all of them. Look k may remove up to b = floor(alpha * s * M) patterns, where s is its share of the level
    (`level_shares`): it removes each remaining pattern for which the remaining patterns whose ``|sum|`` is at least its
    own number b or fewer. Sums that differ by rounding alone count as equal, so ties go together or stay together. The
    test rejects if the observed pattern, no flips, is removed.

    **It is exact.** With other signs the observed pattern would be another one of the group, with the same set of
    patterns around it and the same removals. So, given the sizes of the differences, it is removed with a probability
    of the removed fraction, at most alpha, whatever the sizes are and without any randomness in the patterns (Hemerik
    and Goeman 2018).

    **p** is the smallest alpha at which the observed pattern has been removed. It is well defined because the sets of
    removed patterns grow with alpha. Suppose that, before look k, the larger of two levels has removed all that the
    smaller one has, and let the smaller one remove a pattern now. Either it is gone under the larger level already, or
    it is removed there, too: no more of the remaining patterns are at least as extreme, and the budget is no smaller.
    (The budget is no smaller because none is carried over from look to look.) As removed patterns stay removed, p never
    grows with further looks.
    Whenever a study stops, P(p <= alpha) <= alpha; and Holm's correction of such p values is the procedure of Maurer
    and Bretz (2013), which tests the remaining hypotheses again, at all looks so far, whenever one is rejected.

    With a single look p is that of `sign_flip_p` for up to 16 differences, and its estimate from 2**16 fixed patterns
    for more.

    Args:
        differences: Differences in the order of the study's seeds, as many as one of the looks; 0 for a missing pair.
        looks: Numbers of seeds of all planned looks, ascending.

    Returns:
        p value in (0, 1].

    Raises:
        ValueError: The looks are not ascending, or no look has that many seeds.

    Example:
        >>> sequential_p([0.3, 0.8, 0.5, 1.1, 0.2, 0.4, 0.9, 0.6], looks=(8, 12))
        0.017578125
    """
    values = np.asarray(differences, dtype=np.float64)
    if not looks or looks[0] < 1 or any(one >= other for one, other in pairwise(looks)):
        raise ValueError(f"looks must be ascending numbers of seeds, got {tuple(looks)}")
    if len(values) not in looks:
        raise ValueError(f"there are {len(values)} differences, and looks at {', '.join(map(str, looks))} seeds")
    taken = [n for n in looks if n <= len(values)]
    shares = level_shares(looks)[: len(taken)]
    sizes = np.abs([pattern_sums(values[:n]) for n in taken])
    ties = [TIE * math.fsum(np.abs(values[:n])) for n in taken]
    # Counts of patterns that are at least as extreme as the observed one, at each look alone. If all of them were
    # still there, these levels would remove it; no level can if it could not with all earlier budgets in one.
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
    # A count reaches the budget of a look at multiples of 1 / share only.
    steps = [np.arange(math.floor(most * s + _ROUNDING)) + 1 for s in shares]
    levels = np.unique(np.concatenate([count / s for count, s in zip(steps, shares, strict=True)])) / 2**_BITS
    levels = levels[levels >= least * (1 - _ROUNDING)]
    first, last = 0, len(levels)  # the observed pattern stays below `first`, and goes from `last` on
    while first < last:
        middle = (first + last) // 2
        if _removed(ranked, levels[middle] * shares * 2**_BITS + _ROUNDING):
            last = middle
        else:
            first = middle + 1
    return float(levels[first]) if first < len(levels) else 1.0


def first_deciding_look(looks: Sequence[int], tests: int) -> int | None:
    """Return the first look at which a p value can survive Holm's first step, 0.05 / tests; None if no look's can.

    The smallest p value of a look at n seeds is that of differences with one sign, 2 / 2**min(n, 16) over the look's
    share of the level.

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

    Pattern x flips the differences whose column has an odd number of ones in common with x, so the sums are the
    Walsh-Hadamard transform of the differences, each placed at its column.

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
    """Return the columns of the linear code over GF(2) whose words are the sign patterns, one for each of n seeds.

    Patterns are the sums (exclusive or) of 16 generators in systematic form [I | R]: on the first 16 seeds they are all
    2**16, each once. Further columns come from a digest of the seed's number alone, so that the patterns of a prefix do
    not depend on how many seeds follow. All have an odd number of ones, so that a pattern's opposite is a pattern, too;
    the first row is left out here, which keeps one of each two. The digests' salt is such that any five of the
    first 48 columns are independent: up to 48 seeds the sums have the first five moments of those over all 2**n
    patterns.

    Example:
        >>> columns(5).tolist()
        [0, 1, 2, 4, 8]
    """
    systematic = [0, *(1 << bit for bit in range(_BITS))]
    drawn = (hashlib.sha256(f"{_SALT} {seed}".encode()).digest()[:2] for seed in range(len(systematic), n))
    return np.array([*systematic[:n], *(int.from_bytes(digest, "big") >> 1 for digest in drawn)], dtype=np.intp)


_Ranked = tuple[NDArray[np.intp], NDArray[np.intp]]


def _ranked(sizes: NDArray[np.float64], tie: float, count: int) -> _Ranked:
    """Return the most extreme patterns of a look, and how many are at least as extreme as each, up to ties.

    Args:
        sizes: Absolute sums of all patterns.
        tie: Difference by which sums that are equal may differ.
        count: Number of patterns that matter: all levels of interest leave the others.
    """
    if count < len(sizes):
        bound = np.partition(sizes, len(sizes) - count)[len(sizes) - count] - tie
        some = np.flatnonzero(sizes >= bound)
    else:
        some = np.arange(len(sizes))
    order = some[np.argsort(-sizes[some], kind="stable")]
    return order, np.searchsorted(-sizes[order], -sizes[order] + tie, side="right")


def _removed(ranked: Sequence[_Ranked], budgets: NDArray[np.float64]) -> bool:
    """Return True if looks with these budgets, in patterns with the first sign fixed, remove the observed one."""
    living = np.ones(2**_BITS, dtype=bool)
    for (order, reach), budget in zip(ranked, budgets, strict=True):
        at_least = np.cumsum(living[order])[reach - 1]
        living[order[: np.searchsorted(at_least, math.floor(budget), side="right")]] = False
    return not living[0]
