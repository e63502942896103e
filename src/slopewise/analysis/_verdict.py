"""Verdicts: Holm's correction, the rule of the margin, and the rule of the verdict."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
_TIE = 1e-9  # of the margin, at least of one point: far above rounding, far below one test image


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's (1979) adjusted p values over the last axis.

    The i-th smallest of k is multiplied by k - i + 1, made monotone and cut at 1. Rejecting where the result is
    at most alpha keeps the chance of any false rejection at alpha, however the tests depend on each other.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    array = np.asarray(p, dtype=np.float64)
    order = np.argsort(array, axis=-1)
    factors = np.arange(array.shape[-1], 0, -1)
    raised = np.minimum(1.0, np.maximum.accumulate(np.take_along_axis(array, order, -1) * factors, axis=-1))
    adjusted = np.empty_like(array)
    np.put_along_axis(adjusted, order, raised, axis=-1)
    return adjusted


def verdict(
    low: ArrayLike,
    high: ArrayLike,
    p_holm: ArrayLike,
    *,
    margin: float | None,
    better: Literal["higher", "lower"],
    enough: ArrayLike = True,
) -> NDArray[np.str_]:
    """Return the verdict on intervals and corrected p values, element by element.

    "helps" and "hurts" need both: the interval excludes 0 and p_holm <= 0.05. Failing that, an interval inside the
    margin is "no practical effect", anything else "inconclusive": a large p value alone is never evidence of no
    effect.

    Args:
        low: Lower ends of the 95 % intervals; NaN where there is none.
        high: Upper ends.
        p_holm: Holm-corrected p values.
        margin: Smallest difference that matters; with None, "no practical effect" is never given.
        better: Direction that helps.
        enough: Mask of the contrasts that have pairs enough for "no practical effect".

    Example:
        >>> low, high, p_holm = [0.2, -0.3, -0.9], [0.9, 0.4, 1.0], [0.01, 0.7, 0.7]
        >>> verdict(low, high, p_holm, margin=0.5, better="higher").tolist()
        ['helps', 'no practical effect', 'inconclusive']
    """
    low, high = np.asarray(low), np.asarray(high)
    shown = np.asarray(p_holm) <= ALPHA
    up, down = ("helps", "hurts") if better == "higher" else ("hurts", "helps")
    return np.select(
        [shown & (low > 0), shown & (high < 0), within(low, high, margin) & np.asarray(enough)],
        [up, down, "no practical effect"],
        default="inconclusive",
    )


def within(low: ArrayLike, high: ArrayLike, margin: float | None) -> NDArray[np.bool_]:
    """Return a mask of the intervals in which no difference reaches the margin; without a margin, none does."""
    if margin is None:
        return np.zeros(np.broadcast_shapes(np.shape(low), np.shape(high)), dtype=bool)
    inside: NDArray[np.bool_] = ~(reaches(low, margin) | reaches(high, margin))
    return inside


def reaches(difference: ArrayLike, margin: float) -> NDArray[np.bool_]:
    """Return a mask of the differences that matter: the margin or more in size, up to rounding, or NaN.

    This is the one rule of the margin. A margin of 0.5 points and 200 test images make one image matter.

    Example:
        >>> reaches([-0.5, 0.49, 97.5 - 97.0000000000001], 0.5).tolist()
        [True, False, True]
    """
    size = np.abs(np.asarray(difference, dtype=np.float64))
    return ~(size < margin - _TIE * max(margin, 1.0))
