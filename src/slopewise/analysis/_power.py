"""What a number of seeds can show: smallest detectable effect, seeds needed."""

from __future__ import annotations

import bisect
import math

from slopewise.analysis._verdict import ALPHA

POWER = 0.8
MOST_PAIRS = 1_000_000  # that `seeds_needed` counts up to; without an end, tiny margins overflow


def seeds_floor(tests: int) -> int:
    """Fewest pairs whose smallest possible sign-flip p value, 2 / 2**n, survives Holm's first step.

    With fewer, no effect, however large, is sure to be shown.

    Example:
        >>> [seeds_floor(tests) for tests in (1, 2, 3, 4, 8)]
        [6, 7, 7, 8, 9]
    """
    return math.ceil(math.log2(2 * tests / ALPHA))


def detectable(n: int, level: float) -> float:
    """Smallest mean, in standard deviations of the differences, that n pairs show with 80 % power.

    From the noncentral t distribution of the two-sided paired t test at `level`: the noncentrality
    d * sqrt(n) at which t exceeds its upper critical value with probability 0.8.

    Example:
        >>> [round(detectable(n, 0.05), 2) for n in (3, 5, 8, 10, 20)]
        [3.26, 1.68, 1.16, 1.0, 0.66]
    """
    from scipy import special

    critical = special.stdtrit(n - 1, 1 - level / 2)
    return float(special.nctdtrinc(n - 1, 1 - POWER, critical)) / math.sqrt(n)


def attainable_level(n: int, tests: int) -> float:
    """The largest p value that n pairs can have and that Holm's first step, 0.05 / tests, still accepts.

    Sign-flip p values are multiples of 2 / 2**n. The first step is the strictest, so power at this level is
    what an arm can count on whatever the other arms show.

    Example:
        >>> [attainable_level(n, tests=4) for n in (7, 8)]
        [0.0, 0.0078125]
    """
    if n > 50:  # finer than a float can tell
        return ALPHA / tests
    patterns = 2.0 ** (n - 1)
    return math.floor(ALPHA / tests * patterns) / patterns


def smallest_detectable(n: int, sd: float, tests: int) -> float | None:
    """Effect shown with 80 % power by n pairs whose differences are normal with this standard deviation.

    Where only p = 2 / 2**n is small enough (8 seeds with 4 tests), all n differences must have the same sign,
    which happens with probability Phi(effect / sd)**n. Elsewhere this is `detectable` at `attainable_level`;
    the power simulated there lies between 74 and 81 %, lowest one seed above that case.

    Returns:
        in the unit of `sd`; None below `seeds_floor(tests)` pairs.

    Example:
        >>> print(f"{smallest_detectable(10, sd=0.6, tests=4):.2f}")
        0.78
    """
    from scipy import special

    if n < seeds_floor(tests):
        return None
    level = attainable_level(n, tests)
    if level == 2.0 ** (1 - n):
        return sd * float(special.ndtri(POWER ** (1 / n)))
    return sd * detectable(n, level)


def seeds_needed(margin: float, sd: float, tests: int) -> int | None:
    """Fewest pairs that show an effect of the size of the margin with 80 % power; None for more than `MOST_PAIRS`.

    Example:
        >>> seeds_needed(0.5, sd=0.6, tests=4), seeds_needed(0.5, sd=0.1, tests=4)
        (20, 8)
        >>> seeds_needed(1e-12, sd=0.6, tests=4) is None
        True
    """
    if margin <= 0:
        raise ValueError(f"the margin must be positive, got {margin}")
    floor = seeds_floor(tests)

    def shown(n: int) -> bool:
        effect = smallest_detectable(n, sd, tests)
        return effect is not None and effect <= margin

    return floor + bisect.bisect_left(range(floor, MOST_PAIRS), 1, key=shown) if shown(MOST_PAIRS) else None
