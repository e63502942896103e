"""Power of a number of seeds: smallest detectable effect, seeds needed."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from slopewise.analysis._verdict import ALPHA, holm

POWER = 0.8
MOST_PAIRS = 1_000_000  # largest result of `seeds_needed`: without a limit, tiny margins overflow
_WIDER, _WELCH_WIDER = 12.0, 13.0  # simulated: see `smallest_detectable`
_COUNTED = 1000  # runs up to which splits are counted; the number of those of more overflows a float
_FINEST = 2.0**-50  # p values closer to each other than that are beyond the resolution of floats


@dataclass(frozen=True, slots=True)
class Design:
    """Numbers of values that a contrast compares.

    Attributes:
        arm: Number of pairs, or of the arm's runs.
        control: Number of the control's runs; None for pairs.
    """

    arm: int
    control: int | None = None

    @property
    def smallest_p(self) -> float:
        """Smallest p value of the design's exact test: all differences of one sign, or all runs of one arm ahead.

        Example:
            >>> Design(6).smallest_p, Design(4, 4).smallest_p, Design(2, 5).smallest_p == 1 / 21
            (0.03125, 0.02857142857142857, True)
        """
        if self.control is None:
            return 2.0 ** (1 - self.arm) if self.arm else 1.0
        if not self.arm or not self.control:
            return 1.0
        n, m = self.arm, self.control
        if n + m <= _COUNTED:
            return (2 if n == m else 1) / math.comb(n + m, n)
        return math.exp(math.lgamma(n + 1) + math.lgamma(m + 1) - math.lgamma(n + m + 1))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the t test; of Student's for two arms of equal variance."""
        return self.arm - 1 if self.control is None else self.arm + self.control - 2

    @property
    def welch_freedom(self) -> float:
        """Degrees of freedom of Welch's interval for two arms of equal variance; of Student's for pairs."""
        if self.control is None:
            return self.arm - 1
        n, m = self.arm, self.control
        return (1 / n + 1 / m) ** 2 / (1 / (n**2 * (n - 1)) + 1 / (m**2 * (m - 1)))

    @property
    def wider(self) -> float:
        """Factor by which the package's intervals need a larger effect than Student's or Welch's."""
        if self.control is None:
            return 1 + _WIDER / self.arm**2
        return 1 + _WELCH_WIDER / self.welch_freedom**2

    @property
    def size(self) -> float:
        """Number of pairs that would know the mean difference as well: the harmonic mean of the numbers of runs."""
        return self.arm if self.control is None else 2 / (1 / self.arm + 1 / self.control)

    def enough(self, tests: int) -> bool:
        """Return True if the smallest p value survives Holm's first step.

        Example:
            >>> Design(7).enough(4), Design(8).enough(4), Design(4, 6).enough(4)
            (False, True, True)
        """
        return self.smallest_p <= ALPHA / tests


def seeds_floor(tests: int, *, paired: bool = True) -> int:
    """Return the fewest seeds whose smallest possible p value survives Holm's first step.

    The smallest p value of n pairs is 2 / 2**n; that of n runs of each of two arms is 2 / C(2n, n). With fewer of them
    no effect is significant, however large, unless other arms are (`can_be_shown`).

    Args:
        tests: Number of contrasts that share the error rate.
        paired: True for pairs, False for as many runs of each arm.

    Example:
        >>> [seeds_floor(tests) for tests in (1, 2, 3, 4, 8)]
        [6, 7, 7, 8, 9]
        >>> [seeds_floor(tests, paired=False) for tests in (1, 2, 3, 4, 8)]
        [4, 5, 5, 5, 6]
    """
    n = 1
    while not _design(n, paired=paired).enough(tests):
        n += 1
    return n


def _design(n: int, *, paired: bool) -> Design:
    return Design(n) if paired else Design(n, n)


def can_be_shown(smallest: Sequence[float]) -> list[bool]:
    """Return for each arm whether some outcome of its number of values could be significant.

    Holm's correction is less strict for an arm once others are significant. So an arm with fewer pairs than
    `seeds_floor` can still be significant if enough others have more; with fewer than 6 pairs, or 4 runs of each of
    two arms, it never can.

    Args:
        smallest: Smallest p value that each arm can reach, such as `Design.smallest_p`.

    Example:
        >>> can_be_shown([Design(5).smallest_p] * 2), can_be_shown([Design(6).smallest_p, Design(10).smallest_p])
        ([False, False], [True, True])
    """
    return [bool(p <= ALPHA) for p in holm(smallest)]


def largest_rate(events: int, trials: int) -> float | None:
    """Return the largest rate of an event that a number of trials does not exclude, at 95 % confidence.

    That is the upper end of Clopper and Pearson's one-sided interval: at this rate, that few events have probability
    0.05. Without an event it is 1 - 0.05**(1 / trials), nearly 3 / trials.

    Returns:
        Rate as a fraction; None without a trial.

    Example:
        >>> print(f"{largest_rate(0, 20):.3f} {largest_rate(2, 10):.3f} {largest_rate(3, 3)}")
        0.139 0.507 1.0
    """
    from scipy import special

    if not trials:
        return None
    return 1.0 if events == trials else float(special.betaincinv(events + 1, trials - events, 1 - ALPHA))


def detectable(freedom: float, size: float, level: float) -> float:
    """Return the smallest mean difference, in standard deviations of a difference, that is shown with 80 % power.

    It comes from the noncentral t distribution of the two-sided t test at `level`, as the noncentrality d * sqrt(size)
    at which t exceeds its upper critical value with probability 0.8.

    Args:
        freedom: Degrees of freedom.
        size: Number of differences whose mean has the standard error of the test.
        level: Level of the test.

    Example:
        >>> [round(detectable(n - 1, n, 0.05), 2) for n in (3, 5, 8, 10, 20)]
        [3.26, 1.68, 1.16, 1.0, 0.66]
    """
    from scipy import special

    critical = special.stdtrit(freedom, 1 - level / 2)
    return float(special.nctdtrinc(freedom, 1 - POWER, critical)) / math.sqrt(size)


def attainable_level(design: Design, tests: int) -> float:
    """Return the largest p value that Holm's first step, 0.05 / tests, still accepts.

    p values are multiples of the smallest one. The first step is the strictest, so an arm has the power at this level
    whatever the other arms show.

    Example:
        >>> [attainable_level(Design(n), tests=4) for n in (7, 8)]
        [0.0, 0.0078125]
    """
    step = design.smallest_p
    if step < _FINEST:
        return ALPHA / tests
    return math.floor(ALPHA / tests / step) * step


def smallest_detectable(n: int, sd: float, tests: int, *, control: int | None = None) -> float | None:
    """Return the effect shown with 80 % power by n pairs, or by n runs beside those of the control.

    Differences, or runs, are taken to be normal. A verdict needs a small p value and an interval that excludes 0; the
    larger of two effects is enough for both. Where only the smallest p value is small enough (8 pairs or 5 runs of each
    arm, with 4 tests), all n differences must have the same sign, which happens with probability Phi(effect / sd)**n,
    or all runs of one arm must lie above all runs of the other (`_ahead`); elsewhere the first effect is `detectable`
    at `attainable_level`. The second is `detectable` at 0.05, by which Student's or Welch's interval excludes 0, times
    1 + 12 / n**2 for pairs, as `mean_interval` is wider: that law is within 1 % of what was simulated from 7 to 50
    pairs. For runs it is 1 + 13 / d**2 with Welch's degrees of freedom d: within 5 % for 4 to 20 runs of each arm, and
    up to 10 % too large where one arm has several times the runs of the other. With both, the simulated power lies
    between 73 and 82 % (up to 85 % where the numbers of runs differ much).

    Args:
        n: Number of pairs, or of the arm's runs.
        sd: Standard deviation of a paired difference, or of the difference of a run of the arm and one of the control.
        tests: Number of contrasts that share the error rate.
        control: Number of the control's runs; None for pairs.

    Returns:
        Effect in the unit of `sd`; None if no p value of so few seeds survives the correction.

    Example:
        >>> print(f"{smallest_detectable(10, sd=0.6, tests=4):.2f}")
        0.78
        >>> print(f"{smallest_detectable(10, sd=0.6, tests=4, control=10):.2f}")
        0.69
    """
    effect = _detectable_effect(n, control, tests)
    return None if effect is None else sd * effect


@lru_cache(maxsize=4096)  # the contrasts of a study have few numbers of seeds, and the search for more repeats itself
def _detectable_effect(n: int, control: int | None, tests: int) -> float | None:
    """Return `smallest_detectable` in standard deviations."""
    from scipy import special

    design = Design(n, control)
    if not design.enough(tests) or min(n, control or n) < 2:  # a single run gives no interval
        return None
    level = attainable_level(design, tests)
    if level > design.smallest_p:
        by_test = detectable(design.freedom, design.size, level)
    else:
        by_test = float(special.ndtri(POWER ** (1 / n))) if control is None else _ahead(n, control)
    by_interval = detectable(design.welch_freedom, design.size, ALPHA) * design.wider
    return max(by_test, by_interval)


def _ahead(n: int, control: int) -> float:
    """Return the difference of means at which all n runs exceed all of the control's with 80 % probability.

    The unit is the standard deviation of the difference of two runs. With the control's runs standard normal, the
    probability is the integral of m * phi(y) * Phi(y)**(m - 1) * Phi(effect - y)**n over their maximum y.
    """
    from scipy import optimize, special

    y = np.linspace(-8.0, 8.0, 2001)
    density = control * np.exp(-y * y / 2) / math.sqrt(2 * math.pi) * special.ndtr(y) ** (control - 1)

    def lacking(effect: float) -> float:
        return float((density * special.ndtr(effect - y) ** n).sum() * (y[1] - y[0])) - POWER  # both ends are 0

    return float(optimize.brentq(lacking, 0.0, 16.0)) / math.sqrt(2)


def seeds_needed(margin: float, sd: float, tests: int, *, paired: bool = True) -> int | None:
    """Return the fewest seeds that show an effect of the margin's size with 80 % power; None above `MOST_PAIRS`.

    Args:
        margin: Size of the effect.
        sd: Standard deviation of a difference, see `smallest_detectable`.
        tests: Number of contrasts that share the error rate.
        paired: True to count pairs, False to count the runs of each arm.

    Example:
        >>> seeds_needed(0.5, sd=0.6, tests=4), seeds_needed(0.5, sd=0.1, tests=4)
        (20, 8)
        >>> seeds_needed(0.5, sd=0.6, tests=4, paired=False)
        18
        >>> seeds_needed(1e-12, sd=0.6, tests=4) is None
        True
    """
    if margin <= 0:
        raise ValueError(f"the margin must be positive, got {margin}")
    floor = seeds_floor(tests, paired=paired)

    def shown(n: int) -> bool:
        effect = smallest_detectable(n, sd, tests, control=None if paired else n)
        return effect is not None and effect <= margin

    return floor + bisect.bisect_left(range(floor, MOST_PAIRS), 1, key=shown) if shown(MOST_PAIRS) else None
