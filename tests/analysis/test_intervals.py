import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from slopewise.analysis import mean_interval

values = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


@pytest.mark.parametrize("n", [2, 5, 10, 20])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_agrees_with_scipy(n, level):
    sample = np.random.default_rng(n).gamma(2, size=n)
    reference = stats.ttest_1samp(sample, 0).confidence_interval(level)
    assert np.allclose(mean_interval(sample, level), reference, rtol=1e-12)


def test_darwins_maize():
    # Fisher's paired t interval for the difference in inches: 0.004 to 5.23.
    eighths = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
    low, high = mean_interval(eighths / 8)
    assert (round(float(low), 3), round(float(high), 2)) == (0.004, 5.23)


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
