"""Descriptions beside a contrast, against scipy and against counting."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from slopewise.analysis import analyse, describe

CONTROL = [95.0, 94.5, 96.0, 95.5, 95.0, 94.0, 95.5, 95.0]
ARM = [95.5, 95.5, 96.0, 96.5, 94.5, 95.5, 96.5, 95.5]


def described(study, arm=ARM, control=CONTROL, **fields):
    contrast = analyse(study({"relu": control, "elu": arm}, **fields)).primary[0]
    return contrast, describe(contrast)


def hall(studentised, k):
    return studentised + k * studentised**2 / 3 + k**2 * studentised**3 / 27 + k / 6


def test_the_posterior_is_the_lower_one_of_students_t_and_halls(study):
    contrast, description = described(study)
    d = np.subtract(ARM, CONTROL)
    t, k = stats.t(len(d) - 1), stats.skew(d, bias=False) / np.sqrt(len(d))
    worse, better = (d.mean() + 0.5) / stats.sem(d), (d.mean() - 0.5) / stats.sem(d)
    assert description.worse == pytest.approx(min(t.sf(worse), t.sf(hall(worse, k))))
    assert description.better == pytest.approx(min(t.cdf(better), t.cdf(hall(better, k))))
    assert description.within == pytest.approx(1 - description.worse - description.better)
    assert contrast.margin == 0.5


def test_of_symmetric_differences_it_is_students(study):
    _, description = described(study, arm=[c + d for c, d in zip(CONTROL, [0, 2, 0, 2, 1, 1, -1, 3], strict=True)])
    posterior = stats.t(7, loc=1, scale=stats.sem([0, 2, 0, 2, 1, 1, -1, 3]))
    assert description.worse == pytest.approx(posterior.cdf(-0.5))
    assert description.better == pytest.approx(posterior.sf(0.5))


@pytest.mark.parametrize("paired", [True, False])
def test_it_is_certain_to_97_5_percent_only_where_the_interval_lies_beyond_the_margin(study, paired):
    rng = np.random.default_rng(0)
    for _ in range(40):
        arm = 95 - rng.exponential(3, 8) ** rng.uniform(0.5, 1.5)
        contrast, description = described(study, arm=list(arm), paired=paired)
        assert (description.worse > 0.975) == (contrast.interval[1] < -0.5)
        assert (description.better > 0.975) == (contrast.interval[0] > 0.5)


def test_without_pairs_it_is_welchs(study):
    low, high = [95.5, 96.0, 96.5], [94.0, 95.0, 96.0, 94.5, 95.5]  # symmetric, so that Hall changes nothing
    _, description = described(study, arm=low, control=high, paired=False)
    welch = stats.ttest_ind(low, high, equal_var=False)
    ends = welch.confidence_interval(0.95)
    error = (ends.high - ends.low) / 2 / stats.t.isf(0.025, welch.df)
    assert description.better == pytest.approx(stats.t.sf((0.5 - 1.0) / error, welch.df))
    assert description.worse == pytest.approx(stats.t.cdf((-0.5 - 1.0) / error, welch.df))
    u = stats.mannwhitneyu(low, high).statistic
    assert description.wins == pytest.approx(u / 15)
    assert (description.wins_interval, description.compared) == (None, 15)


def test_ties_are_left_out_of_the_wins(study):
    _, description = described(study)
    assert (description.wins, description.compared, description.ties) == (6 / 7, 7, 1)
    exact = stats.binomtest(6, 7).proportion_ci(0.95, method="exact")
    assert description.wins_interval == pytest.approx((exact.low, exact.high))


def test_every_seed_or_none_won(study):
    _, all_won = described(study, arm=[value + 1 + seed / 10 for seed, value in enumerate(CONTROL)])
    assert (all_won.wins, all_won.wins_interval[1]) == (1.0, 1.0)
    _, none_won = described(study, arm=[value - 1 - seed / 10 for seed, value in enumerate(CONTROL)])
    assert (none_won.wins, none_won.wins_interval[0]) == (0.0, 0.0)
    assert none_won.worse > 0.99


def test_lower_may_be_better(study):
    higher = described(study)[1]
    contrast = replace(described(study)[0], better="lower")
    lower = describe(contrast)
    assert (lower.worse, lower.better) == pytest.approx((higher.better, higher.worse))
    assert lower.wins == pytest.approx(1 - higher.wins)


def test_what_is_not_there_is_none(study):
    _, alone = described(study, arm=ARM[:1], control=CONTROL[:1])
    assert (alone.worse, alone.within, alone.better, alone.wins, alone.compared) == (None, None, None, 1.0, 1)
    _, same = described(study, arm=CONTROL)
    assert (same.within, same.wins, same.wins_interval, same.compared, same.ties) == (None, None, None, 0, 8)
    _, nothing = described(study, arm=[None] * 8, control=[None] * 8)
    assert (nothing.better, nothing.wins, nothing.compared, nothing.ties) == (None, None, 0, 0)
    contrast = replace(described(study)[0], margin=None)
    assert describe(contrast).better is None


def test_probabilities_add_up(study):
    for shift in np.linspace(-2, 2, 9):
        description = described(study, arm=[value + shift for value in ARM])[1]
        assert description.worse + description.within + description.better == pytest.approx(1)
