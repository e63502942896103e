import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from slopewise.analysis import permutation_p

small = st.lists(st.integers(-5, 5), min_size=1, max_size=5)


@pytest.mark.parametrize(("n", "m"), [(2, 3), (4, 4), (5, 7), (8, 3), (7, 7)])
def test_agrees_with_scipys_exact_test(n, m):
    rng = np.random.default_rng(n + 10 * m)
    arm, control = rng.normal(0.6, 1, n), rng.normal(0, 1, m)
    reference = stats.permutation_test(
        (arm, control), lambda a, b: np.mean(a) - np.mean(b), n_resamples=np.inf, vectorized=False
    )
    assert len(reference.null_distribution) == math.comb(n + m, n)
    # scipy's two-sided p doubles the smaller tail; ours counts what is at least as far from 0, from the same splits.
    far = np.abs(reference.null_distribution) >= abs(reference.statistic) * (1 - 1e-12)
    assert permutation_p(arm, control) == far.mean()
    if n == m:  # the two definitions agree where the distribution is symmetric
        assert permutation_p(arm, control) == pytest.approx(reference.pvalue, rel=1e-12)


def test_pitman_1937_by_hand():
    # 10 splits of 1, 2, 3, 4, 10 into two and three: sums of pairs 3 4 5 6 5 7 11 12 13 14, expected 8.
    assert permutation_p([4, 10], [1, 2, 3]) == 1 / 10
    assert permutation_p([3, 10], [1, 2, 4]) == 3 / 10  # |13 - 8|: 13, 14 and 3


@given(small, small)
def test_counts_every_split(arm, control):
    pooled, n = arm + control, len(arm)
    scaled = [len(pooled) * sum(pooled[i] for i in s) - n * sum(pooled) for s in combinations(len(pooled), n)]
    assert permutation_p(arm, control) == sum(abs(difference) >= abs(scaled[0]) for difference in scaled) / len(scaled)


def combinations(items: int, size: int):
    return itertools.combinations(range(items), size)  # the first one is the arm itself


@given(small, small, st.sampled_from([(360, 0), (1000, 95), (7, 1e6)]))
def test_rounding_cannot_change_p(arm, control, grid):
    steps, base = grid
    noisy = [[base + 100 * (value / steps) for value in values] for values in (arm, control)]
    assert permutation_p(*noisy) == permutation_p(arm, control)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6), st.lists(st.floats(-10, 10), min_size=1, max_size=6))
def test_direction_and_order_do_not_matter(arm, control):
    p = permutation_p(arm, control)
    assert p == permutation_p(control, arm) == permutation_p(arm[::-1], control[::-1])
    assert p == permutation_p([-value for value in arm], [-value for value in control])


@pytest.mark.parametrize(("n", "m"), [(2, 2), (4, 4), (20, 20), (1, 30), (5, 8), (3, 37)])
def test_floor(n, m):
    p = permutation_p(5 + np.arange(n), -np.arange(m) / 100)
    assert p == (2 if n == m else 1) / math.comb(n + m, n)


@pytest.mark.parametrize(("n", "m"), [(3, 5), (30, 30)])
def test_no_difference_at_all(n, m):
    assert permutation_p([0.3] * n, [0.3] * m) == 1


@pytest.mark.parametrize(
    ("n", "m", "ones", "others"), [(20, 20, 14, 8), (9, 30, 7, 9), (25, 25, 16, 9), (40, 90, 9, 32)]
)
def test_zeros_and_ones_are_fishers_exact_test(n, m, ones, others):
    """The hypergeometric distribution, whose tails are counted from the distance to the mean here."""
    total = ones + others
    counts = np.arange(max(0, total - m), min(n, total) + 1)
    far = np.abs(counts - n * total / (n + m)) >= abs(ones - n * total / (n + m)) - 1e-9
    expected = stats.hypergeom.pmf(counts, n + m, total, n)[far].sum()
    arm, control = np.arange(n) < ones, np.arange(m) < others
    error = np.sqrt(expected * (1 - expected) / 99_999) if n + m > 40 else 1e-14
    assert permutation_p(arm, control) == pytest.approx(expected, abs=4 * error, rel=1e-9)


def test_sampled_p_is_never_zero_and_ignores_direction_and_order():
    assert permutation_p(np.arange(25) + 100.0, np.arange(40)) == 1 / 100_000
    rng = np.random.default_rng(0)
    arm, control = rng.normal(0.3, 1, 30), rng.normal(0, 1, 25)
    p = permutation_p(arm, control)
    assert p == permutation_p(control, arm) == permutation_p(rng.permutation(arm), control[::-1])


def test_leading_axes():
    arm, control = np.random.default_rng(0).normal(size=(2, 3, 4)), np.random.default_rng(1).normal(size=(2, 3, 6))
    p = permutation_p(arm, control)
    assert p.shape == (2, 3)
    assert p[1, 2] == permutation_p(arm[1, 2], control[1, 2])
