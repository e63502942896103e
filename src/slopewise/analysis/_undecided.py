"""Reasons why a comparison has no verdict although its interval, or its p value, seems to give one."""

from __future__ import annotations

from slopewise.analysis._power import Design
from slopewise.analysis._verdict import ALPHA


def undecided(
    interval: tuple[float, float] | None,
    p: float | None,
    p_holm: float | None,
    *,
    design: Design,
    tests: int,
    null: float = 0.0,
    inside: bool = False,
    looks: bool = False,
    family: str = "arms",
) -> str:
    """Return a clause that says what an inconclusive comparison lacks; empty where the interval includes the null.

    Args:
        interval: 95 % interval.
        p: Exact p value.
        p_holm: p value after correction.
        design: Numbers of values.
        tests: Number of comparisons that share the error rate.
        null: Value of the figure if there is no effect.
        inside: True if the whole interval lies within the margin.
        looks: True if the interval allows for repeated looks.
        family: Noun for the comparisons that share the error rate, in the plural.

    Example:
        >>> undecided((0.35, 0.85), 0.25, 0.5, design=Design(3), tests=2)
        'the interval excludes 0, but so few seeds cannot reach p ≤ 0.05 after correction over 2 arms, and a verdict \
needs both'
        >>> undecided((0.11, 0.94), 0.02, 0.07, design=Design(10), tests=4)
        'the interval excludes 0, but p is above 0.05 after correction over 4 arms, and a verdict needs both'
    """
    if interval is None or p is None or p_holm is None:
        return ""
    low, high = interval
    excluded = not low <= null <= high
    seeds = "seeds" if design.control is None else "runs"
    corrected = f" after correction over {tests} {family}" if tests > 1 else ""
    if excluded and p_holm > ALPHA:
        few = f"so few {seeds} cannot reach p ≤ 0.05{corrected}"
        lacking = (f"p is above 0.05{corrected if p <= ALPHA else ''}") if design.enough(tests) else few
        return f"the interval excludes {null:g}, but {lacking}, and a verdict needs both"
    if not excluded and p_holm <= ALPHA:
        looking = " and repeated looks" if looks else ""
        return f"p is at most 0.05, but the interval, which allows for skewness{looking}, includes {null:g}"
    if inside and not design.enough(tests):
        return f"the interval lies within the margin, but so few {seeds} cannot show that there is no effect"
    return ""
