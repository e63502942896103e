"""Prospects of a contrast in an adaptive study: the look that decided it, or the chance that a later look will."""

from __future__ import annotations

import math

from slopewise.analysis._about import rounded_up
from slopewise.analysis._power import MOST_PAIRS
from slopewise.analysis._results import Contrast
from slopewise.analysis._sequential import interval_shares, level_shares
from slopewise.analysis._verdict import ALPHA, within

_UNLIKELY, _LIKELY = 0.2, 0.8


def chance_of_decision(contrast: Contrast) -> float | None:
    """Return the probability that the last look decides an undecided contrast, given its values so far.

    The forecast is not binding: an arm with poor prospects goes on, and stopping it by hand does not change the error
    rates of the other arms.

    Given n pairs with mean m and standard deviation s now, and N pairs at the last look, the final mean is predicted to
    be normal with mean m and variance s**2 * (1 / n - 1 / N): the flat-prior prediction, with s taken for the true
    standard deviation. The final mean decides if its distance from 0 exceeds both the half width of the interval and
    the critical value of the test at Holm's first step, or if it is less than the margin minus the half width. Half
    width and critical value are Student's t quantiles at the last look's shares of the level, times s / sqrt(N). The
    forecast ignores skewness and the looks in between.

    Returns:
        Probability. None for a contrast that is decided, has no further look, has no spread, is not paired, or compares
        two networks that compute the same function.

    Example:
        >>> from dataclasses import replace
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), looks=(10, 16, 40))
        >>> first = replace(study, trials=tuple(trial for trial in study.trials if trial.seed < 10))
        >>> round(chance_of_decision(analyse(first).primary[0]), 2)
        0.94
    """
    values = _open_values(contrast)
    if contrast.look is None or contrast.look == contrast.looks[-1] or values is None:
        return None
    from scipy import special

    difference, sd = values
    n = len(contrast.seeds)
    last = n + contrast.looks[-1] - contrast.look
    half, critical = (quantile * sd / math.sqrt(last) for quantile in _quantiles(contrast, last))
    inside = -math.inf if contrast.margin is None else contrast.margin - half
    outside = max(half, critical)
    if inside >= outside:
        return 1.0
    spread = sd * math.sqrt(1 / n - 1 / last)

    def below(value: float) -> float:
        return float(special.ndtr((value - difference) / spread))

    between = below(outside) - below(-outside)
    if inside > 0:
        between -= below(inside) - below(-inside)
    return min(1.0, max(0.0, 1 - between))


def seeds_to_decide(contrast: Contrast) -> int | None:
    """Estimate the number of seeds that would decide a contrast that the last look left open.

    At this number, the interval of the last look would lie inside the margin, or would exclude 0 with a significant p
    value, if the mean and the standard deviation of the differences stayed as they are. It is meant for planning the
    next study: adding seeds to this one would invalidate its error rate.

    Returns:
        Number of seeds, rounded up to two significant digits. None for a contrast that is decided, has a further look,
        or would need more than a million seeds, and if more seeds would not decide it.
    """
    values = _open_values(contrast)
    if contrast.look is None or contrast.look != contrast.looks[-1] or values is None:
        return None
    effect, sd = abs(values[0]), values[1]
    half, critical = (quantile * sd for quantile in _quantiles(contrast, len(contrast.seeds)))
    roots = [max(half, critical) / effect] if effect else []
    if contrast.margin is not None and effect < contrast.margin:
        roots.append(half / (contrast.margin - effect))
    if not roots or (seeds := min(roots) ** 2) > MOST_PAIRS or seeds <= len(contrast.seeds):
        return None
    return rounded_up(seeds)


def look_words(contrast: Contrast) -> str | None:
    """Describe the look that decided a contrast, or the prospects of an open contrast; None in a fixed study.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), looks=(10, 16, 40), effects={"elu": 1.0})
        >>> look_words(analyse(study).primary[0])
        'decided at the look after 40 seeds, the last'
    """
    if not contrast.looks:
        return None
    most, seeds = contrast.looks[-1], f"{contrast.look} seeds"
    if contrast.look is None:
        return f"decided after {contrast.looks[0] if contrast.paired else most} seeds at the earliest"
    if contrast.decided:
        return f"decided at the look after {seeds}" + (f" of up to {most}" if contrast.look < most else ", the last")
    if contrast.look == most:
        return f"not decided after {seeds}, the last look{_reason(contrast)}"
    chance = chance_of_decision(contrast)
    prospects = "" if chance is None else f"; {_likely(chance)} decided by {most} seeds ({_percent(chance)})"
    return f"not decided at the look after {seeds}{prospects}"


def _open_values(contrast: Contrast) -> tuple[float, float] | None:
    """Return mean and standard deviation of an undecided contrast that more pairs could decide; None for others."""
    one_function = any(caution.id == "identical" for caution in contrast.cautions)
    if contrast.decided or not contrast.paired or one_function or contrast.difference is None or not contrast.sd:
        return None
    return contrast.difference, contrast.sd


def _quantiles(contrast: Contrast, n: int) -> tuple[float, float]:
    """Return Student's t quantiles of the last look: for its interval, and for its test at Holm's first step."""
    from scipy import special

    of_interval = ALPHA * interval_shares(contrast.looks)[-1]
    of_test = ALPHA / contrast.tests * level_shares(contrast.looks)[-1]
    interval, test = (float(special.stdtrit(n - 1, 1 - level / 2)) for level in (of_interval, of_test))
    return interval, test


def _likely(chance: float) -> str:
    if chance < _UNLIKELY:
        return "unlikely to be"
    return "likely to be" if chance > _LIKELY else "perhaps"


def _percent(chance: float) -> str:
    if chance < 0.01:
        return "under 1 %"
    return "over 99 %" if chance > 0.99 else f"{100 * chance:.0f} %"


def _reason(contrast: Contrast) -> str:
    """Describe why the last look does not decide a contrast, and how many seeds would."""
    if contrast.interval is None:
        return ""
    (low, high), margin = contrast.interval, contrast.margin
    if margin is not None and within(low, high, margin):
        return ": the interval lies inside the margin, but a caution rules out a verdict"
    reached = "" if margin is None else " and reaches the margin"
    state = "the interval contains 0" if low <= 0 <= high else "p is too large, although the interval excludes 0"
    needed = seeds_to_decide(contrast)
    about = "" if needed is None else f"; about {needed:,} seeds would decide it if mean and spread stay the same"
    return f": {state}{reached}{about}"
