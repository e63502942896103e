import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from slopewise.analysis import holm, mean_interval, seeds_floor, seeds_needed, sign_flip_p, smallest_detectable, verdict
from slopewise.analysis._power import Design, attainable_level, can_be_shown, detectable, largest_rate

tests = st.integers(1, 12)
pairs = st.lists(st.integers(0, 12), min_size=1, max_size=5)


@pytest.mark.parametrize(("n", "sds"), [(3, 3.26), (5, 1.68), (8, 1.16), (10, 1.00), (20, 0.66)])
def test_paired_t_tables(n, sds):
    # Standard tables of the paired t test: 80 % power at the two-sided 5 % level.
    assert round(detectable(n - 1, n, 0.05), 2) == sds


@given(st.integers(2, 2000), st.sampled_from([0.05, 0.0125, 0.001]))
def test_power_is_80_percent_by_scipys_noncentral_t(n, level):
    critical = stats.t.isf(level / 2, n - 1)
    assert stats.nct.sf(critical, n - 1, detectable(n - 1, n, level) * np.sqrt(n)) == pytest.approx(0.8, abs=1e-4)


@given(tests)
def test_floor_is_the_first_number_of_seeds_that_can_show_anything(k):
    def best(n: int) -> float:
        others = np.ones(k - 1)
        return float(holm([sign_flip_p(np.ones(n)), *others])[0])

    assert best(seeds_floor(k)) <= 0.05 < best(seeds_floor(k) - 1)


@given(pairs)
def test_an_effect_can_be_shown_if_holm_accepts_the_smallest_p_value(pairs):
    """An arm that can be significant is so if all differences have one sign, the most extreme outcome."""
    p = [float(sign_flip_p(np.ones(n))) if n else 1.0 for n in pairs]
    assert can_be_shown([Design(n).smallest_p for n in pairs]) == [q <= 0.05 for q in holm(p)]


@given(pairs)
def test_an_effect_that_cannot_be_shown_has_fewer_pairs_than_the_floor(pairs):
    for n, shown in zip(pairs, can_be_shown([Design(n).smallest_p for n in pairs]), strict=True):
        assert shown or n < seeds_floor(len(pairs))
        assert not (shown and n < 6)


@pytest.mark.parametrize(("events", "trials"), [(0, 1), (0, 20), (1, 20), (9, 10), (0, 1000), (500, 1000)])
def test_the_largest_rate_is_clopper_and_pearsons(events, trials):
    reference = stats.binomtest(events, trials, alternative="less").proportion_ci(0.95, method="exact")
    assert largest_rate(events, trials) == pytest.approx(reference.high)


def test_the_largest_rate_at_its_ends():
    assert round(largest_rate(0, 20), 2) == 0.14  # 20 of 20 trained: up to 14 % may diverge
    assert (largest_rate(3, 3), largest_rate(0, 0)) == (1.0, None)


@given(st.integers(1, 10), tests)
def test_attainable_level_is_a_p_value_that_occurs(n, k):
    occurring = {2 * count / 2**n for count in range(2 ** (n - 1) + 1)}
    accepted = [p for p in occurring if p * k <= 0.05]
    assert attainable_level(Design(n), k) == max(accepted)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("n", [8, 10, 12, 20])
def test_simulated_power(n, k):
    effect = smallest_detectable(n, 1.0, k)
    d = np.random.default_rng(n).normal(effect, 1, (4000, n))
    low, high = mean_interval(d)
    # The arm that matters, at Holm's first step.
    shown = verdict(low, high, k * sign_flip_p(d), margin=None, better="higher") == "helps"
    assert 0.73 < shown.mean() < 0.82


@given(st.floats(0.01, 50), tests, st.integers(0, 60))
def test_smallest_detectable_scales_with_the_spread_and_falls_with_seeds(sd, k, more):
    n = seeds_floor(k) + more
    effect = smallest_detectable(n, sd, k)
    assert effect == pytest.approx(sd * smallest_detectable(n, 1.0, k))
    assert smallest_detectable(n + 1, sd, k) < effect


def test_too_few_seeds_detect_nothing():
    assert smallest_detectable(7, 1.0, tests=4) is None
    assert smallest_detectable(8, 1.0, tests=4) == pytest.approx(stats.norm.ppf(0.8 ** (1 / 8)))  # above 1.16 * 1.19
    assert smallest_detectable(8, 0.0, tests=4) == 0


@given(st.floats(0.05, 5), st.floats(0.0, 5), tests)
def test_seeds_needed_is_the_first_number_that_suffices(margin, sd, k):
    n = seeds_needed(margin, sd, k)
    assert n >= seeds_floor(k)
    assert smallest_detectable(n, sd, k) <= margin
    if n > seeds_floor(k):
        assert smallest_detectable(n - 1, sd, k) > margin


def test_seeds_needed_for_a_wild_spread():
    # Normal approximation: ((z_0.99375 + z_0.8) * sd / margin)**2.
    expected = ((stats.norm.isf(0.00625) + stats.norm.isf(0.2)) * 20 / 0.1) ** 2
    assert seeds_needed(0.1, 20.0, tests=4) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("margin", [0.0, -0.5])
def test_a_margin_must_be_positive(margin):
    with pytest.raises(ValueError, match="margin must be positive"):
        seeds_needed(margin, 1.0, tests=4)


@pytest.mark.parametrize(
    ("margin", "sd"),
    [(1e-12, 0.6), (5e-324, 0.6), (1e-5, 0.6), (0.5, 1e300), (0.5, np.inf), (0.5, np.nan), (np.nan, 0.6)],
)
def test_seeds_are_counted_up_to_a_million(margin, sd):
    assert seeds_needed(margin, sd, tests=4) is None


def test_the_last_number_that_is_counted():
    enough = smallest_detectable(10**6, 0.6, tests=4)
    assert seeds_needed(enough, 0.6, tests=4) == 10**6
    assert seeds_needed(enough * (1 - 1e-5), 0.6, tests=4) is None
