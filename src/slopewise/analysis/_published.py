"""Verdicts on means that a paper prints, with their standard deviations and numbers of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slopewise.analysis._about import about
from slopewise.analysis._power import MOST_PAIRS, Design, seeds_needed, smallest_detectable
from slopewise.analysis._sentence import p_words
from slopewise.analysis._verdict import ALPHA, holm, verdict
from slopewise.errors import TableError
from slopewise.records import amount

_PLANS = (3, 5, 10)  # runs of each arm for which a bare mean's largest spread is stated
_LARGEST = 1e300  # mean or deviation: with larger ones, the ends of an interval leave the range of floats


@dataclass(frozen=True, slots=True)
class Published:
    """An arm as a paper prints it.

    Attributes:
        mean: Mean of its runs.
        sd: Standard deviation between runs (a standard error times sqrt(n)); None if it is not printed.
        n: Number of runs; None if it is not printed.
    """

    mean: float
    sd: float | None = None
    n: int | None = None


def judge_means(
    arms: Mapping[str, Published],
    control: str,
    *,
    margin: float,
    better: Literal["higher", "lower"] = "higher",
    unit: str = "",
) -> list[str]:
    """Return a sentence about each arm against the control, from what a paper prints.

    The difference of means has Welch's (1947) interval and p value, corrected by Holm over the arms; the verdict is
    that of `verdict`, and power that of unpaired runs. Runs are taken to be normal and independent: pairs, skewness and
    divergence do not show in a mean and a standard deviation. Without the latter there is no verdict, but the spread up
    to which the difference would be shown.

    Args:
        arms: Printed figures by arm.
        control: Arm that the others are compared with.
        margin: Smallest difference that matters, in the unit of the means.
        better: Direction that is an improvement.
        unit: Unit of differences, to follow the figures.

    Raises:
        TableError: There is no such control or no other arm, an arm has no name, the margin or a standard deviation is
            not above 0, a number is not finite or above 1e300, or an arm has fewer than two runs, or more than a
            million, beside a standard deviation.

    Example:
        >>> arms = {"relu": Published(93.1, 0.2, 10), "prelu": Published(93.9, 0.3, 10), "elu": Published(93.5)}
        >>> for sentence in judge_means(arms, "relu", margin=0.5, unit="points"):
        ...     print(sentence)
        prelu helps: +0.8 points against relu (95 % interval +0.56 to +1.04, 10 and 10 runs, Welch's p < 0.001, \
Holm-corrected).
        elu: +0.4 points against relu, and no verdict without standard deviations and numbers of runs. 5 runs of each \
would show it if their standard deviation were at most 0.16 points, 10 of each if at most 0.27; 3 could show nothing.
    """
    _check(arms, control, margin)
    others = [name for name in arms if name != control]
    welch = [_welch(arms[name], arms[control]) for name in others]
    corrected = holm([1.0 if figures is None else figures[1] for figures in welch]).tolist()
    sentences = []
    for name, figures, p in zip(others, welch, corrected, strict=True):
        difference = arms[name].mean - arms[control].mean
        against = f"{amount(f'{difference:+.4g}', unit)} against {control}"
        if figures is None:
            sentences.append(f"{name}: {against}, {_without(difference, len(others), unit)}")
            continue
        half, sd = figures[0], figures[2]
        low, high = difference - half, difference + half
        runs, base = arms[name].n or 0, arms[control].n or 0
        judged = "inconclusive"
        if Design(runs, base).enough(len(others)):  # else the exact test would show nothing, whatever the runs are
            judged = str(verdict(low, high, p, margin=margin, better=better))
        ends = f"95 % interval {low:{_form(half)}} to {high:{_form(half)}}, {runs} and {base} runs"
        opening = {"helps": "helps", "hurts": "hurts", "inconclusive": "is inconclusive"}.get(judged, f"has {judged}")
        power = _power(runs, base, sd, len(others), margin, unit) if judged == "inconclusive" else ""
        sentences.append(f"{name} {opening}: {against} ({ends}, Welch's {p_words(p)}, Holm-corrected).{power}")
    return sentences


def _check(arms: Mapping[str, Published], control: str, margin: float) -> None:
    if control not in arms or len(arms) < 2:
        raise TableError(f"the control '{control}' and at least one other arm are needed, but there are {[*arms]}")
    if not 0 < margin < math.inf:
        raise TableError(f"the margin must be above 0, got {margin:g}")
    for name, arm in arms.items():
        if not name.strip():
            raise TableError("an arm has no name: give each one")
        if not abs(arm.mean) <= _LARGEST or (arm.sd is not None and not 0 < arm.sd <= _LARGEST):
            raise TableError(
                f"{name}: the mean must be a number and the standard deviation above 0, and neither above {_LARGEST:g}"
            )
        if arm.n is not None and arm.n < 2:
            raise TableError(f"{name}: a standard deviation needs at least 2 runs, got {arm.n}; give the mean alone")
        if arm.n is not None and arm.n > MOST_PAIRS:
            raise TableError(f"{name}: give the number of runs that were trained, at most {MOST_PAIRS:,}, got {arm.n}")


def _welch(arm: Published, control: Published) -> tuple[float, float, float] | None:
    """Return half the width of Welch's interval, p, and the spread of the difference of two runs; None without figures.

    Deviations are taken relative to the larger one: the square of 1e200 or 1e-200 leaves the range of floats.
    """
    from scipy import special

    if arm.sd is None or arm.n is None or control.sd is None or control.n is None:
        return None
    scale = max(arm.sd, control.sd)
    one, other = (arm.sd / scale) ** 2 / arm.n, (control.sd / scale) ** 2 / control.n
    error = math.sqrt(one + other)
    freedom = (one + other) ** 2 / (one**2 / (arm.n - 1) + other**2 / (control.n - 1))
    half = float(special.stdtrit(freedom, 1 - ALPHA / 2)) * error * scale
    p = 2 * float(special.stdtr(freedom, -abs(arm.mean - control.mean) / scale / error))
    return half, p, math.hypot(arm.sd, control.sd)


def _form(half: float) -> str:
    """Return the format of an interval's ends: two digits of half its width, unless that is far from 1.

    Example:
        >>> f"{1.2345:{_form(0.21)}} {1.2345:{_form(1e-200)}}"
        '+1.23 +1.234'
    """
    return f"+.{max(0, 1 - math.floor(math.log10(half)))}f" if 1e-9 < half < 1e9 else "+.4g"


def _power(n: int, control: int, sd: float, tests: int, margin: float, unit: str) -> str:
    effect = smallest_detectable(n, sd, tests, control=control)
    shown = "cannot show any effect" if effect is None else f"show {amount(f'{effect:.2g}', unit)} with 80 % power"
    needed = about(seeds_needed(margin, sd, tests, paired=False), " runs of each", known=min(n, control))
    return f" These runs {shown}; at this spread {needed} show {amount(margin, unit)}."


def _without(difference: float, tests: int, unit: str) -> str:
    """Describe the spread up to which some numbers of runs would show a difference of bare means."""
    lacking = "and no verdict without standard deviations and numbers of runs."
    if not difference:
        return lacking
    able, unable = [], []
    for n in _PLANS:
        effect = smallest_detectable(n, math.sqrt(2), tests, control=n)  # of runs whose standard deviation is 1
        if effect is None:
            unable.append(n)
        else:
            able.append((n, f"{abs(difference) / effect:.2g}"))
    (first, spread), *rest = able
    words = f"{first} runs of each would show it if their standard deviation were at most {amount(spread, unit)}"
    words += "".join(f", {n} of each if at most {spread}" for n, spread in rest)
    return f"{lacking} {words}{f'; {max(unable)} could show nothing' if unable else ''}."
