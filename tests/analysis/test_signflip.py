import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from slopewise.analysis import sign_flip_p

# Darwin's maize: heights of 15 cross-fertilised less self-fertilised plants, in eighths of an inch.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]

small = st.lists(st.integers(-5, 5), min_size=1, max_size=9)


def test_fisher_1935_on_darwins_maize():
    # The Design of Experiments, section 21: 863 of the 32,768 sign patterns give a sum as large as Darwin's.
    assert sign_flip_p(DARWIN) == 2 * 863 / 32768


@pytest.mark.parametrize("n", [2, 5, 6, 9, 12])
def test_agrees_with_scipy(n):
    rng = np.random.default_rng(n)
    arm, control = rng.normal(0.4, 1, n), rng.normal(0, 1, n)
    reference = stats.permutation_test(
        (arm, control), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert sign_flip_p(arm - control) == pytest.approx(reference.pvalue, rel=1e-12)


@given(small)
def test_counts_every_pattern(differences):
    sums = [sum(map(int.__mul__, differences, signs)) for signs in itertools.product((-1, 1), repeat=len(differences))]
    share = sum(abs(total) >= abs(sum(differences)) for total in sums) / len(sums)
    assert sign_flip_p(differences) == share


@given(small, st.lists(st.integers(100, 350), min_size=9, max_size=9))
def test_rounding_cannot_change_p(differences, controls):
    # Percentages of 360 test images: ties in exact arithmetic must stay ties.
    pairs = list(zip(differences, controls, strict=False))
    noisy = [100 * ((control + d) / 360) - 100 * (control / 360) for d, control in pairs]
    assert sign_flip_p(noisy) == sign_flip_p(differences)


@given(small, st.sampled_from([0.1, 1e-9, 1e9]))
def test_units_do_not_matter(differences, unit):
    assert sign_flip_p([d * unit for d in differences]) == sign_flip_p(differences)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.randoms())
def test_direction_and_order_do_not_matter(differences, random):
    shuffled = random.sample(differences, len(differences))
    assert sign_flip_p(shuffled) == sign_flip_p(differences) == sign_flip_p([-d for d in differences])


@pytest.mark.parametrize("n", [1, 2, 5, 8, 20, 32])
def test_floor(n):
    assert sign_flip_p([0.3] * n) == 2 / 2**n


@pytest.mark.parametrize("n", [1, 7, 40])
def test_no_difference_at_all(n):
    assert sign_flip_p([0.0] * n) == 1


@pytest.mark.parametrize(("n", "positive"), [(20, 14), (31, 20), (32, 24)])
def test_equal_magnitudes_are_a_sign_test(n, positive):
    assert sign_flip_p([1] * positive + [-1] * (n - positive)) == pytest.approx(stats.binomtest(positive, n).pvalue)


@pytest.mark.parametrize(("n", "positive"), [(33, 22), (50, 32), (200, 110)])
def test_a_group_of_patterns_agrees_with_the_sign_test(n, positive):
    expected = stats.binomtest(positive, n).pvalue
    error = np.sqrt(expected * (1 - expected) / 2**17)
    assert sign_flip_p([1] * positive + [-1] * (n - positive)) == pytest.approx(expected, abs=4 * error)


def test_p_of_a_group_of_patterns_is_the_share_over_all_its_products():
    differences = np.random.default_rng(3).normal(0.2, 1, 40)
    ordered = np.sort(differences) if differences.sum() > 0 else np.sort(-differences)
    codes = np.random.default_rng(0).integers(0, 2**17, 40)
    bits = np.arange(2**17)[:, None] & codes  # the patterns that a product has, where they turn the pair's sign
    sums = (1 - 2.0 * (np.bitwise_count(bits) & 1)) @ ordered
    assert sign_flip_p(differences) == np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)


def test_p_of_a_group_of_patterns_is_never_zero_and_ignores_direction_and_order():
    assert sign_flip_p([1.0] * 60) == 1 / 2**17
    differences = np.random.default_rng(0).normal(0.3, 1, 45)
    assert sign_flip_p(differences) == sign_flip_p(-differences) == sign_flip_p(differences[::-1])


@pytest.mark.parametrize("n", [10, 40])
def test_order_does_not_matter_on_the_grid_of_a_test_set(n):
    """Accuracies on 360 images give ties in size with either sign, which sorting by size leaves in their order."""
    rng = np.random.default_rng(n)
    differences = 100 * rng.integers(-3, 6, n) / 360
    p = {float(sign_flip_p(sign * rng.permutation(differences))) for sign in (1, -1) for _ in range(20)}
    assert len(p) == 1


def test_leading_axes():
    differences = np.random.default_rng(0).normal(size=(2, 3, 6))
    p = sign_flip_p(differences)
    assert p.shape == (2, 3)
    assert p[1, 2] == sign_flip_p(differences[1, 2])
