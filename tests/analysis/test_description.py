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


def test_the_posterior_is_students_t_about_the_mean(study):
    contrast, description = described(study)
    d = np.subtract(ARM, CONTROL)
    posterior = stats.t(len(d) - 1, loc=d.mean(), scale=stats.sem(d))
    assert description.worse == pytest.approx(posterior.cdf(-0.5))
    assert description.better == pytest.approx(posterior.sf(0.5))
    assert description.within == pytest.approx(posterior.cdf(0.5) - posterior.cdf(-0.5))
    assert contrast.margin == 0.5


def test_without_pairs_it_is_welchs(study):
    contrast, description = described(study, arm=ARM[:5], paired=False)
    low, high = stats.ttest_ind(ARM[:5], CONTROL, equal_var=False).confidence_interval(0.95)
    welch = stats.ttest_ind(ARM[:5], CONTROL, equal_var=False)
    error = (high - low) / 2 / stats.t.isf(0.025, welch.df)
    assert description.better == pytest.approx(stats.t.sf((0.5 - contrast.difference) / error, welch.df))
    assert description.worse == pytest.approx(stats.t.cdf((-0.5 - contrast.difference) / error, welch.df))
    u = stats.mannwhitneyu(ARM[:5], CONTROL).statistic
    assert description.wins == pytest.approx(u / 40)
    assert (description.wins_interval, description.compared) == (None, 40)


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
    secondary = analyse(study({"relu": CONTROL, "elu": ARM})).secondary
    assert {describe(contrast).better for contrast in secondary} == {None}


def test_probabilities_add_up(study):
    for shift in np.linspace(-2, 2, 9):
        description = described(study, arm=[value + shift for value in ARM])[1]
        assert description.worse + description.within + description.better == pytest.approx(1)
