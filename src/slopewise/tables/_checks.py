"""Checks of a metric's values against what is said of them: percentages, and shares of test images."""

from __future__ import annotations

import math
from decimal import Decimal

from slopewise.errors import TableError
from slopewise.support import quoted
from slopewise.tables._runs import Runs
from slopewise.tables._values import rows

_SINGLE = 1e-6  # values may have been computed in single precision


def check_percentages(runs: Runs, name: str) -> None:
    """Refuse fractions that are said to be in percent or points."""
    values = [abs(run.values[name]) for run in runs.runs if math.isfinite(run.values[name])]
    if values and max(values) <= 1:
        raise TableError(
            f"unit: {quoted(name)} is to be in percent or points, but all its values lie between -1 and 1: add "
            "scale 100 (--scale 100) if they are fractions, or scale 1 if they are so small"
        )


def check_shares(runs: Runs, metric: str, direction: str, floor: float | None, images: int) -> None:
    """Refuse values that cannot be shares of images that are right.

    Raises:
        TableError: The metric is better lower, a value or the floor is not in 0 to 1, or a value is no multiple of
            1 / images, as far as its digits tell.
    """
    if direction != "higher":
        raise TableError(f"images: {quoted(metric)} is better lower, and a share of images that are right is not")
    scored = [run for run in runs.runs if not run.without(metric)]
    known = [(f"{run.values[metric]:g} in {run.place}", run.values[metric]) for run in scored]
    known += [] if floor is None else [(f"a floor of {floor:g}", floor)]
    if beyond := [text for text, value in known if not 0 <= value <= 1]:
        raise TableError(
            f"images: {quoted(metric)} must be the share of test images that are right, from 0 to 1, but has "
            f"{rows(beyond)}; divide percentages by 100 and give --scale 100, or leave out --images"
        )
    counts = [(run.values[metric] * images, run) for run in scored]
    if off := [
        f"{run.values[metric]!r} in {run.place} would be {count:.2f} of {images}"
        for count, run in counts
        if abs(count - round(count)) > images * _rounding(run.values[metric])
    ]:
        more = f", and {len(off) - 1} more" if len(off) > 1 else ""
        raise TableError(
            f"images: values of {quoted(metric)} are no multiples of 1/{images}: {off[0]}{more}. Give the number of "
            "test images, or leave out --images if the metric is no share of them, such as a mean over batches"
        )


def _rounding(value: float) -> float:
    """Return the largest distance of a number from the one that it was rounded from, half a unit in its last place.

    Example:
        >>> _rounding(0.25), _rounding(0.509900990099)
        (0.005, 1e-06)
    """
    decimals = -Decimal(f"{value:.7g}").as_tuple().exponent  # type: ignore[operator]  # finite, so a number
    return max(0.5 * 10.0**-decimals, _SINGLE)
