"""The group-sequential sign-flip test against its definition, computed with sets of patterns and exact fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.analysis import first_deciding_look, interval_shares, level_shares, sequential_p, sign_flip_p
from slopewise.analysis._sequential import columns, pattern_sums

LOOKS = (10, 16, 24, 40)
SMALL = (3, 5, 7)
integers = st.lists(st.integers(-4, 4), min_size=7, max_size=7)


def removed(differences, looks, alpha):
    """The sign patterns that a test at level alpha removes at any look: the definition, over all patterns."""
    living = set(itertools.product((1, -1), repeat=looks[-1]))
    every, gone = len(living), set()
    for before, n in itertools.pairwise((0, *looks)):
        share = Fraction(n**2 - before**2, looks[-1] ** 2)
        size = {x: abs(sum(map(int.__mul__, x[:n], differences[:n]))) for x in living}
        now, at_least = set(), 0
        for _, group in itertools.groupby(sorted(living, key=size.get, reverse=True), size.get):
            members = list(group)
            at_least += len(members)
            if at_least > math.floor(alpha * share * every):
                break
            now |= set(members)
        living, gone = living - now, gone | now
    return gone


def levels(looks):
    """All levels at which some budget grows, ascending, up to 1."""
    every = 2 ** looks[-1]
    shares = [Fraction(n**2 - before**2, looks[-1] ** 2) for before, n in itertools.pairwise((0, *looks))]
    return sorted({Fraction(c, every) / s for s in shares for c in range(1, every + 1) if c <= s * every})


@given(integers)
def test_p_is_the_smallest_level_that_removes_the_observed_pattern(differences):
    observed = (1,) * SMALL[-1]
    first = next((alpha for alpha in levels(SMALL) if observed in removed(differences, SMALL, alpha)), 1)
    assert sequential_p(differences, SMALL) == pytest.approx(float(first), rel=1e-12)


CONTINUOUS = [int(1e6 * value) for value in np.random.default_rng(3).normal(0.4, 1, 10)]
DIFFERENCES = {
    "continuous": CONTINUOUS,
    "one or two images": [1, 2, 1, 1, -1, 2, 1, 1, 2, 1],
    "zeros": [0, 3, 0, 0, 2, 1, 3, 0, 2, 3],
    "one disaster": [-90, *CONTINUOUS[1:]],
}


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.parametrize("alpha", [Fraction(1, 5), Fraction(1, 20), Fraction(1, 80)])
def test_over_all_looks_the_error_is_at_most_the_level(name, alpha):
    """Given the sizes of the differences, each of the 2**10 sign patterns is as likely to be the observed one."""
    looks, differences = (6, 8, 10), DIFFERENCES[name]
    rejected = removed(differences, looks, alpha)
    assert len(rejected) <= alpha * 2**10
    patterns = list(itertools.product((1, -1), repeat=10))
    some = [*rejected][:24] + patterns[:: 1024 // 24]
    for pattern in some:
        p = sequential_p([x * d for x, d in zip(pattern, differences, strict=True)], looks)
        assert (p <= float(alpha) + 1e-12) == (pattern in rejected)


def test_the_boundary_of_a_small_test_by_hand():
    # 2 of 2**3 patterns in a look that has 9 / 49 of the level, 2 of 2**5 in one that has 16 / 49.
    assert sequential_p([1, 1, 1], SMALL) == 1  # 2 / 8 * 49 / 9 is more than 1
    assert sequential_p([1, 1, 1, 1, 1], SMALL) == pytest.approx(2 / 32 * 49 / 16)
    assert sequential_p([1] * 7, SMALL) == pytest.approx(2 / 128 * 49 / 24)


@given(integers, st.sampled_from(levels(SMALL)), st.sampled_from(levels(SMALL)))
def test_what_a_level_removes_a_larger_one_removes_too(differences, one, other):
    assert removed(differences, SMALL, min(one, other)) <= removed(differences, SMALL, max(one, other))


values = st.lists(st.floats(-3, 3).map(lambda value: round(value, 3)), min_size=40, max_size=40)


@given(values)
def test_p_never_grows_with_further_looks_and_signs_do_not_matter(differences):
    p = [sequential_p(differences[:n], LOOKS) for n in LOOKS]
    assert p == sorted(p, reverse=True)
    assert p == [sequential_p([-value for value in differences[:n]], LOOKS) for n in LOOKS]


@given(integers, st.permutations(range(7)))
def test_the_order_of_seeds_matters_only_between_looks(differences, order):
    within = sorted(order, key=lambda seed: sum(seed >= n for n in SMALL))
    mixed = [differences[seed] for seed in within]
    assert sequential_p(mixed, SMALL) == sequential_p(differences, SMALL)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 12, 16])
def test_a_single_look_is_the_fixed_test(n):
    rng = np.random.default_rng(n)
    for differences in (rng.normal(0.5, 1, n), rng.integers(-2, 4, n), np.zeros(n), np.full(n, 0.1)):
        assert sequential_p(differences, (n,)) == sign_flip_p(differences)


@pytest.mark.parametrize("n", [20, 32])
def test_a_single_look_at_more_seeds_estimates_the_fixed_test(n):
    rng = np.random.default_rng(n)
    for _ in range(20):
        differences = rng.normal(0.3, 1, n)
        p = float(sign_flip_p(differences))
        assert sequential_p(differences, (n,)) == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 2**16) + 2 / 2**16)


def test_the_patterns_are_a_group_that_a_prefix_does_not_change():
    assert columns(60)[:40].tolist() == columns(40).tolist()
    common = np.arange(2**15)[:, None] & columns(40)
    signs = 1 - 2 * (sum((common >> bit) & 1 for bit in range(15)) % 2)
    rng = np.random.default_rng(0)
    differences = rng.normal(size=40)
    np.testing.assert_allclose(pattern_sums(differences), signs @ differences, atol=1e-12)
    known = {row.tobytes() for row in signs}
    one, other = rng.integers(2**15, size=(2, 50))
    assert all(row.tobytes() in known for row in signs[one] * signs[other])


def test_any_five_of_the_first_48_columns_are_independent():
    # Odd numbers of columns never cancel, as each has an odd number of ones; so no two and no four may.
    pairs = [one ^ other for one, other in itertools.combinations(columns(48).tolist(), 2)]
    assert 0 not in pairs
    assert len(set(pairs)) == len(pairs)


def test_the_sums_have_the_moments_of_all_patterns():
    d = np.random.default_rng(1).normal(size=40)
    sums = pattern_sums(d)
    assert (sums**2).mean() == pytest.approx((d**2).sum())
    assert (sums**4).mean() == pytest.approx(3 * (d**2).sum() ** 2 - 2 * (d**4).sum())


def test_the_shares_of_the_looks_add_up_to_the_level():
    assert level_shares(LOOKS).sum() == pytest.approx(1)
    assert interval_shares(LOOKS).sum() == pytest.approx(1)
    assert level_shares((7,)).tolist() == interval_shares((7,)).tolist() == [1.0]


@pytest.mark.parametrize("tests", [1, 2, 4, 8])
@pytest.mark.parametrize("looks", [LOOKS, (4, 8), (6, 12), (3, 5), (20, 30)])
def test_the_first_deciding_look_is_the_first_whose_smallest_p_survives(looks, tests):
    smallest = {n: sequential_p(np.ones(n), looks) for n in looks}
    assert first_deciding_look(looks, tests) == next((n for n in looks if smallest[n] <= 0.05 / tests), None)


@pytest.mark.parametrize(
    ("differences", "looks", "message"),
    [
        ([1.0] * 3, (2, 4), "no look has 3 seeds, as many as differences: looks are at 2, 4"),
        ([1.0], (), "ascending"),
        ([1.0], (2, 1), "asc"),
    ],
)
def test_numbers_of_seeds_that_are_no_looks(differences, looks, message):
    with pytest.raises(ValueError, match=message):
        sequential_p(differences, looks)
