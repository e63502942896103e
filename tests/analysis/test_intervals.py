import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from slopewise.analysis import mean_interval

values = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


def halls(sample, level):
    """Return Hall's (1992) interval from his cubic, inverted by bisection instead of the formula."""
    n, g = len(sample), stats.skew(sample, bias=False)

    def transform(t):
        return t + g * t**2 / (3 * n**0.5) + g**2 * t**3 / (27 * n) + g / (6 * n**0.5)

    mean, error = np.mean(sample), stats.sem(sample)
    ends = stats.t.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)
    return [mean - error * optimize.brentq(lambda t, q=q: transform(t) - q, -1e3, 1e3) for q in ends]


@pytest.mark.parametrize("n", [2, 5, 10, 20])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_is_students_interval_and_halls_in_one(n, level):
    sample = np.random.default_rng(n).gamma(2, size=n)
    low, high = stats.ttest_1samp(sample, 0).confidence_interval(level)
    other_low, other_high = halls(sample, level) if n > 2 else (low, high)  # two values have no skewness
    assert np.allclose(mean_interval(sample, level), (min(low, other_low), max(high, other_high)), rtol=1e-9)
    assert n == 2 or other_high > high  # the tail of this noise is above


def test_darwins_maize():
    # Fisher's paired t interval for the difference in inches: 0.004 to 5.23. Two plants far below skew it.
    eighths = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
    low, high = mean_interval(eighths / 8)
    assert (float(low), round(float(high), 2)) == (pytest.approx(halls(eighths / 8, 0.95)[0]), 5.23)


@given(values)
def test_symmetric_values_have_students_interval(sample):
    mirrored = np.concatenate((sample, -np.array(sample)))
    spread = max(np.ptp(mirrored), 1e-3)
    half = stats.t.ppf(0.975, len(mirrored) - 1) * mirrored.std(ddof=1) / len(mirrored) ** 0.5
    assert np.allclose(mean_interval(mirrored), (-half, half), atol=1e-6 * spread)


@pytest.mark.parametrize("n", [2, 8])
def test_values_are_not_believed_to_agree_better_than_their_resolution(n):
    half = stats.t.ppf(0.975, n - 1) * 0.25 / n**0.5
    assert np.allclose(mean_interval([3.0] * n, resolution=0.25), (3 - half, 3 + half))
    wide = np.linspace(0, 10, n)
    assert mean_interval(wide, resolution=0.25) == mean_interval(wide)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e8 / 3])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_identical_values_give_a_point(n, value):
    assert mean_interval([value] * n) == (value, value)


@given(values, st.floats(-50, 50), st.sampled_from([-2.0, 0.5, 4.0]))
def test_moves_and_scales_with_the_values(sample, shift, scale):
    low, high = mean_interval(sample)
    ends = sorted((scale * low + shift, scale * high + shift))
    assert np.allclose(mean_interval(scale * np.array(sample) + shift), ends, atol=1e-9)


def test_leading_axes():
    sample = np.random.default_rng(0).normal(size=(2, 3, 6))
    sample[0, 1] = 4.0
    low, high = mean_interval(sample)
    assert low.shape == high.shape == (2, 3)
    assert (low[0, 1], high[0, 1]) == (4, 4)
    assert (low[1, 2], high[1, 2]) == mean_interval(sample[1, 2])


def test_one_value_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 values, got 1"):
        mean_interval([1.0])
