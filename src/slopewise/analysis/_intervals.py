"""Confidence interval of a mean over seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SYMMETRIC = 1e-6  # a smaller skewness moves the ends by less than rounding


def mean_interval(
    values: ArrayLike, level: float = 0.95, *, resolution: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a confidence interval of the mean over the last axis: Student's t, widened for skewed values.

    Student's interval is mean -+ t[n - 1] * s / sqrt(n). Hall's (1992) replaces t by the value at which his cubic
    transformation of the studentised mean, which removes its skewness, has that quantile: with the sample skewness g
    and k = g / sqrt(n), the ends are mean - s / sqrt(n) * (cbrt(1 + k * (q - k / 6)) - 1) / (k / 3) for q = -+t. The
    interval returned holds both. For symmetric values it is Student's; for skewed ones its ends move outwards on the
    side of the tail, which small samples underestimate. Of the intervals tried in `benchmarks/coverage.py` it is the
    narrowest whose coverage holds for every noise there (docs/statistics.md).

    Args:
        values: Numbers of shape (..., n) with n >= 2.
        level: Confidence level.
        resolution: Lower bound on the standard deviation, in the unit of the values. Accuracies on N test images come
            in steps of 100 / N points, so equal values are equal only to within a step. With the default, 0,
            identical values v give (v, v).

    Returns:
        low and high, each of shape (...).

    Raises:
        ValueError: There are fewer than two values.

    Example:
        >>> low, high = mean_interval([0.3, 0.8, 0.5, 1.1, 0.2])
        >>> print(f"{low:.2f} {high:.2f}")
        0.12 1.28
    """
    from scipy import special  # imported here because that takes longer than `slopewise status` itself

    array = np.asarray(values, dtype=np.float64)
    n = array.shape[-1]
    if n < 2:
        raise ValueError(f"an interval needs at least 2 values, got {n}")
    # For identical numbers, rounding moves the mean and makes the standard deviation positive.
    same = array.max(axis=-1) == array.min(axis=-1)
    mean = np.where(same, array[..., 0], array.mean(axis=-1))
    sd = np.where(same, 0.0, array.std(axis=-1, ddof=1))
    error = np.maximum(sd, resolution) / np.sqrt(n)
    quantile = float(special.stdtrit(n - 1, (1 + level) / 2))
    skewness = _skewness(array, sd)
    low = mean - error * np.maximum(quantile, _unskewed(quantile, skewness, n))
    high = mean - error * np.minimum(-quantile, _unskewed(-quantile, skewness, n))
    return low, high


def _skewness(values: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the adjusted sample skewness; 0 for fewer than three values, and for equal values."""
    n = values.shape[-1]
    if n < 3:
        return np.zeros_like(sd)
    scaled = (values - values.mean(axis=-1, keepdims=True)) / np.where(sd > 0, sd, 1.0)[..., None]
    skewness: NDArray[np.float64] = np.where(sd > 0, n / ((n - 1) * (n - 2)) * (scaled**3).sum(axis=-1), 0.0)
    return skewness


def _unskewed(quantile: float, skewness: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the studentised mean whose transform by Hall's cubic is the quantile."""
    k = skewness / np.sqrt(n)
    small = np.abs(k) < _SYMMETRIC
    k = np.where(small, 1.0, k)
    return np.where(small, quantile, (np.cbrt(1 + k * (quantile - k / 6)) - 1) / (k / 3))
