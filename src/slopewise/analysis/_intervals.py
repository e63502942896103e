"""Confidence intervals of a mean over seeds, and of the difference of two means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SYMMETRIC = 1e-6  # a smaller skewness moves the ends by less than rounding


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean, or difference of two means, with what its distribution over studies is taken to be.

    Attributes:
        middle: Estimates.
        error: Their standard errors.
        freedom: Degrees of freedom of the errors.
        skewness: Skewness of the estimates.
    """

    middle: NDArray[np.float64]
    error: NDArray[np.float64]
    freedom: int | NDArray[np.float64]
    skewness: NDArray[np.float64]

    def ends(self, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends of the interval that holds Student's and Hall's."""
        from scipy import special  # imported here because that takes longer than `slopewise status` itself

        quantile = np.asarray(special.stdtrit(np.asarray(self.freedom, np.float64), (1 + level) / 2), np.float64)
        low = self.middle - self.error * np.maximum(quantile, _unskewed(quantile, self.skewness))
        high = self.middle - self.error * np.minimum(-quantile, _unskewed(-quantile, self.skewness))
        return low, high

    def below(self, bound: float) -> float:
        """Return the confidence that the true value is below a bound: the smaller one of Student's and Hall's.

        It agrees with `ends`: it is (1 + level) / 2 where the upper end of the interval of that level is the bound.
        """
        return self._tail(bound, -1)

    def above(self, bound: float) -> float:
        """Return the confidence that the true value is above a bound; see `below`."""
        return self._tail(bound, 1)

    def _tail(self, bound: float, side: int) -> float:
        from scipy import special

        studentised = np.clip((self.middle - bound) / self.error, -1e90, 1e90)  # whose cube is a number
        tails = special.stdtr(self.freedom, side * np.array([studentised, _skewed(studentised, self.skewness)]))
        return float(tails.min())


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
    return mean_estimate(values, resolution).ends(level)


def difference_interval(
    arm: ArrayLike, control: ArrayLike, level: float = 0.95, *, resolution: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a confidence interval of the difference of two means, arm - control, over the last axis.

    Welch's (1947) interval is (difference of means) -+ t[d] * e, with the standard error e = sqrt(s^2 / n + r^2 / m)
    and d = e^4 / (s^4 / (n^2 * (n - 1)) + r^4 / (m^2 * (m - 1))) degrees of freedom. It is widened as `mean_interval`
    widens Student's, with k = (g * s^3 / n^2 - h * r^3 / m^2) / e^3, the skewness of the difference of means.

    Args:
        arm: Values of shape (..., n) with n >= 2: standard deviation s, skewness g.
        control: Values of shape (..., m) with m >= 2 and the same leading axes: standard deviation r, skewness h.
        level: Confidence level.
        resolution: Lower bound on the standard deviation of a difference of two runs; that of each arm is at least
            resolution / sqrt(2).

    Returns:
        low and high, each of shape (...).

    Raises:
        ValueError: An arm has fewer than two values.

    Example:
        >>> low, high = difference_interval([31.2, 31.5, 31.1, 31.4], [30.9, 31.0, 30.8, 30.7])
        >>> print(f"{low:.2f} {high:.2f}")
        0.17 0.73
    """
    return difference_estimate(arm, control, resolution).ends(level)


def mean_estimate(values: ArrayLike, resolution: float = 0.0) -> Estimate:
    """Return the estimate behind `mean_interval`."""
    array = np.asarray(values, dtype=np.float64)
    n = array.shape[-1]
    if n < 2:
        raise ValueError(f"an interval needs at least 2 values, got {n}")
    mean, sd = _moments(array)
    return Estimate(mean, np.maximum(sd, resolution) / np.sqrt(n), n - 1, _skewness(array, sd) / np.sqrt(n))


def difference_estimate(arm: ArrayLike, control: ArrayLike, resolution: float = 0.0) -> Estimate:
    """Return the estimate behind `difference_interval`."""
    one, other = np.asarray(arm, dtype=np.float64), np.asarray(control, dtype=np.float64)
    n, m = one.shape[-1], other.shape[-1]
    if min(n, m) < 2:
        raise ValueError(f"an interval needs at least 2 values of each arm, got {n} and {m}")
    (mean, sd), (base, spread) = _moments(one), _moments(other)
    least = resolution / np.sqrt(2)
    squared, cubed = np.maximum(sd, least) ** 2 / n, _skewness(one, sd) * sd**3 / n**2
    base_squared, base_cubed = np.maximum(spread, least) ** 2 / m, _skewness(other, spread) * spread**3 / m**2
    error = np.sqrt(squared + base_squared)
    some = np.where(error > 0, error, 1.0)  # without any spread, the interval is a point
    inverse = ((squared / some**2) ** 2 / (n - 1)) + ((base_squared / some**2) ** 2 / (m - 1))
    freedom = np.where(error > 0, 1 / np.where(inverse > 0, inverse, 1.0), n + m - 2.0)
    skewness = np.where(error > 0, (cubed - base_cubed) / some**3, 0.0)
    return Estimate(mean - base, error, freedom, skewness)


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation; for identical numbers, exactly their value and 0.

    Rounding moves the mean of identical numbers and makes their standard deviation positive.
    """
    same = values.max(axis=-1) == values.min(axis=-1)
    return np.where(same, values[..., 0], values.mean(axis=-1)), np.where(same, 0.0, values.std(axis=-1, ddof=1))


def _skewness(values: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the adjusted sample skewness; 0 for fewer than three values, and for equal values."""
    n = values.shape[-1]
    if n < 3:
        return np.zeros_like(sd)
    scaled = (values - values.mean(axis=-1, keepdims=True)) / np.where(sd > 0, sd, 1.0)[..., None]
    skewness: NDArray[np.float64] = np.where(sd > 0, n / ((n - 1) * (n - 2)) * (scaled**3).sum(axis=-1), 0.0)
    return skewness


def _unskewed(quantile: NDArray[np.float64], skewness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the studentised estimate whose transform by Hall's cubic is the quantile."""
    small = np.abs(skewness) < _SYMMETRIC
    k = np.where(small, 1.0, skewness)
    return np.where(small, quantile, (np.cbrt(1 + k * (quantile - k / 6)) - 1) / (k / 3))


def _skewed(studentised: NDArray[np.float64], skewness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Hall's cubic transform of the studentised estimate, the inverse of `_unskewed`."""
    k, u = skewness, studentised
    return np.asarray(u + k * u**2 / 3 + k**2 * u**3 / 27 + k / 6, np.float64)
