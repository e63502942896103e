"""Exact interval and test of a rate."""

from __future__ import annotations


def clopper_pearson(events: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return Clopper and Pearson's (1934) exact two-sided confidence interval of a rate, as fractions.

    Args:
        events: Number of trials with the event.
        trials: Number of trials, at least 1.
        level: Confidence level.

    Example:
        >>> [round(end, 3) for end in clopper_pearson(10, 10)]
        [0.692, 1.0]
    """
    from scipy import special

    tail = (1 - level) / 2
    low = 0.0 if not events else float(special.betaincinv(events, trials - events + 1, tail))
    high = 1.0 if events == trials else float(special.betaincinv(events + 1, trials - events, 1 - tail))
    return low, high


def binomial_p(events: int, trials: int, rate: float) -> float:
    """Return the two-sided p value of a rate: twice the smaller tail, so that it agrees with `clopper_pearson`.

    Args:
        events: Number of trials with the event.
        trials: Number of trials; without trials, p is 1.
        rate: Rate under the null hypothesis, as a fraction.

    Example:
        >>> round(binomial_p(10, 10, 0.5), 6), binomial_p(0, 0, 0.5)
        (0.001953, 1.0)
    """
    from scipy import special

    if not trials:
        return 1.0
    above = 1.0 if not events else float(special.bdtrc(events - 1, trials, rate))
    return min(1.0, 2 * min(above, float(special.bdtr(events, trials, rate))))
