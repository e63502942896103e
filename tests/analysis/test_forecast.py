"""Prospects of contrasts at a look, against simulated continuations of the same study."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from slopewise.analysis import analyse, chance_of_decision, look_words, seeds_to_decide, sentence
from slopewise.testing import synthetic_study

LOOKS = (10, 16, 24, 40)
STUDY = synthetic_study(("relu", "elu"), looks=LOOKS, epochs=2)


def at(look, *, difference, sd, study=STUDY, **changes):
    """The contrast of a study at a look, with other figures, undecided."""
    trials = tuple(trial for trial in study.trials if trial.seed < look)
    contrast = analyse(replace(study, trials=trials)).primary[0]
    figures = {"difference": difference, "sd": sd, "verdict": "inconclusive", "cautions": ()}
    return replace(contrast, **figures | changes)


@pytest.mark.parametrize("tests", [1, 4])
@pytest.mark.parametrize(("difference", "sd"), [(0.0, 0.6), (0.3, 0.6), (0.3, 1.2), (-0.45, 0.9), (0.5, 2.0)])
@pytest.mark.parametrize("look", [10, 24])
def test_the_chance_is_that_of_simulated_continuations(look, difference, sd, tests):
    """Posterior mean, then the mean of the seeds to come: the prediction in two steps, its law in no formula."""
    rng = np.random.default_rng(look)
    truth = rng.normal(difference, sd / np.sqrt(look), 200_000)
    rest = rng.normal(truth, sd / np.sqrt(40 - look))
    means = (look * difference + (40 - look) * rest) / 40
    half, critical = (stats.t.isf(level / 2, 39) * sd / np.sqrt(40) for level in (0.05 * 0.4, 0.05 / tests * 0.64))
    decided = (np.abs(means) > max(half, critical)) | (np.abs(means) < 0.5 - half)
    contrast = at(look, difference=difference, sd=sd, tests=tests)
    assert chance_of_decision(contrast) == pytest.approx(decided.mean(), abs=0.006)
    lower = replace(contrast, difference=-difference)
    assert chance_of_decision(lower) == pytest.approx(chance_of_decision(contrast))


def test_a_small_spread_is_sure_to_decide():
    assert chance_of_decision(at(10, difference=0.25, sd=0.1)) == 1.0


def test_without_a_margin_only_an_effect_decides():
    bounded, free = (at(10, difference=0.0, sd=0.6, margin=margin) for margin in (0.5, None))
    assert chance_of_decision(free) < 0.2 < 0.9 < chance_of_decision(bounded)


def test_nothing_is_predicted_of_what_is_decided_or_can_never_be():
    assert chance_of_decision(at(16, difference=1.0, sd=0.5, verdict="helps")) is None
    assert chance_of_decision(at(9, difference=1.0, sd=0.5)) is None
    assert chance_of_decision(at(40, difference=1.0, sd=0.5)) is None
    assert chance_of_decision(at(16, difference=0.0, sd=0.0)) is None
    assert chance_of_decision(at(16, difference=0.3, sd=0.5, paired=False)) is None
    fixed = analyse(replace(STUDY, looks=())).primary[0]
    assert (chance_of_decision(fixed), seeds_to_decide(fixed), look_words(fixed)) == (None, None, None)


@pytest.mark.parametrize(("difference", "sd"), [(0.0, 1.5), (0.3, 1.0), (0.4, 1.4), (0.9, 3.0)])
def test_so_many_seeds_would_decide_and_fewer_would_not(difference, sd):
    seeds = seeds_to_decide(at(40, difference=difference, sd=sd))

    def decides(n):
        half, critical = (stats.t.isf(level / 2, 39) * sd / np.sqrt(n) for level in (0.05 * 0.4, 0.05 * 0.64))
        return difference > max(half, critical) or difference < 0.5 - half

    assert seeds > 40
    assert decides(seeds)
    assert not decides(0.9 * seeds - 1)


def test_no_number_of_seeds_is_named_where_it_is_not_what_lacks():
    assert seeds_to_decide(at(40, difference=0.0, sd=0.1)) is None
    assert seeds_to_decide(at(40, difference=1e-4, sd=3.0, margin=None)) is None
    assert seeds_to_decide(at(24, difference=0.3, sd=1.0)) is None


@pytest.mark.parametrize(
    ("look", "changes", "words"),
    [
        (9, {}, "decided after 10 seeds at the earliest"),
        (9, {"paired": False}, "decided after 40 seeds at the earliest"),
        (16, {"verdict": "helps"}, "decided at the look after 16 seeds of up to 40"),
        (40, {"verdict": "helps"}, "decided at the look after 40 seeds, the last"),
        (16, {}, "not decided at the look after 16 seeds; perhaps decided by 40 seeds (49 %)"),
        (16, {"sd": 3.0}, "not decided at the look after 16 seeds; unlikely to be decided by 40 seeds (8 %)"),
        (16, {"sd": 0.3}, "not decided at the look after 16 seeds; likely to be decided by 40 seeds (over 99 %)"),
        (16, {"sd": 6.0, "margin": None}, "not decided at the look after 16 seeds; unlikely to be decided by 40 seeds"),
        (16, {"sd": None}, "not decided at the look after 16 seeds"),
        (
            40,
            {"interval": (-0.1, 0.7)},
            "not decided after 40 seeds, the last look: the interval contains 0 and reaches the margin; "
            "about 66 seeds would decide it if mean and spread stay the same",
        ),
        (
            40,
            {"interval": (0.1, 0.7), "sd": 0.3},
            "not decided after 40 seeds, the last look: p is too large, although the interval excludes 0 and "
            "reaches the margin",
        ),
        (
            40,
            {"interval": (-0.1, 0.7), "sd": None, "margin": None},
            "not decided after 40 seeds, the last look: the interval contains 0",
        ),
        (
            40,
            {"interval": (-0.1, 0.2)},
            "not decided after 40 seeds, the last look: the interval lies inside the margin, but a caution "
            "rules out a verdict",
        ),
        (40, {"interval": None, "sd": None}, "not decided after 40 seeds, the last look"),
    ],
)
def test_words(look, changes, words):
    contrast = at(look, **{"difference": 0.3, "sd": 1.0, **changes})
    assert look_words(contrast).startswith(words)
    if contrast.look:
        assert f"{words[0].upper()}{words[1:]}" in sentence(contrast)
