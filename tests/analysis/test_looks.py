"""Contrasts of adaptive studies: what is used at which look, what decides, and what no look can show."""

from dataclasses import replace

import numpy as np
import pytest

from slopewise.analysis import (
    analyse,
    completed_look,
    difference_interval,
    holm,
    mean_interval,
    permutation_p,
    sentence,
    sequential_p,
)
from slopewise.testing import synthetic_study

LOOKS = (10, 16, 24, 40)
STUDY = synthetic_study(("relu", "elu", "gelu"), looks=LOOKS, effects={"elu": 1.0}, epochs=2)


def upto(study, arm=None, **seeds):
    """The study with the trials of each arm's first seeds; `rest` for the arms that are not named."""
    rest = seeds.pop("rest", 40)
    return replace(study, trials=tuple(t for t in study.trials if t.seed < seeds.get(t.arm, rest)))


def first(study, arm="elu"):
    return next(contrast for contrast in analyse(study).primary if contrast.arm == arm)


def ids(contrast):
    return [caution.id for caution in contrast.cautions]


@pytest.mark.parametrize(("ended", "look"), [(9, None), (10, 10), (15, 10), (16, 16), (39, 24), (40, 40)])
def test_the_values_are_those_of_the_last_completed_look(ended, look):
    contrast = first(upto(STUDY, rest=ended))
    assert (contrast.look, contrast.looks) == (look, LOOKS)
    assert contrast.seeds == tuple(range(look or ended))
    if look:
        share = {10: 10, 16: 6, 24: 8, 40: 16}[look] / 40
        expected = tuple(map(float, mean_interval(contrast.differences, 1 - 0.05 * share, resolution=100 / 360)))
        assert contrast.interval == expected
        assert contrast.p == sequential_p(contrast.differences, LOOKS)
        assert contrast.finished == look


def test_p_values_are_corrected_over_arms_at_different_looks():
    contrasts = analyse(upto(STUDY, elu=16, gelu=31)).primary
    assert [contrast.look for contrast in contrasts] == [16, 24]
    assert [c.p_holm for c in contrasts] == holm([c.p for c in contrasts]).tolist()
    assert contrasts[0].decided
    assert contrasts[0].verdict == "helps"


def test_before_the_first_look_nothing_is_decided():
    study = synthetic_study(("relu", "elu"), looks=LOOKS, effects={"elu": 4.0}, epochs=2)
    contrast = first(upto(study, rest=9))
    assert (contrast.p, contrast.verdict, contrast.decided, contrast.can_be_shown) == (
        1.0,
        "inconclusive",
        False,
        False,
    )
    assert len(contrast.differences) == 9
    assert "nothing is decided before the first look, after 10 seeds" in sentence(contrast)
    same = first(upto(synthetic_study(("relu", "elu"), looks=LOOKS, margin=50.0, epochs=2), rest=9))
    assert (same.verdict, same.negligible) == ("inconclusive", False)
    assert first(upto(replace(study, margin=50.0), rest=10)).negligible


def test_nothing_ended():
    contrast = first(replace(STUDY, trials=()))
    assert (contrast.look, contrast.p, contrast.verdict, contrast.seeds) == (None, None, "inconclusive", ())


def test_failed_trials_end_and_their_pairs_count_as_no_difference():
    study = synthetic_study(("relu", "elu"), looks=LOOKS, effects={"elu": 1.0}, failed={"elu": 26}, epochs=2)
    assert completed_look(study, "elu") == 40
    contrast = first(upto(study, rest=16))
    assert (contrast.look, contrast.seeds) == (16, tuple(range(14)))
    assert contrast.p == sequential_p([*contrast.differences, 0, 0], LOOKS)
    last = first(study)
    assert last.p == sequential_p(np.pad(last.differences, (0, 26)), LOOKS)


def test_seeds_are_places_in_the_order_of_the_study():
    names = {seed: 100 - seed for seed in range(40)}
    study = replace(
        STUDY,
        seeds=tuple(names[seed] for seed in STUDY.seeds),
        trials=tuple(replace(trial, seed=names[trial.seed]) for trial in STUDY.trials),
    )
    missing = replace(study, trials=tuple(trial for trial in study.trials if (trial.arm, trial.seed) != ("elu", 80)))
    assert first(study).p == first(STUDY).p
    assert (first(missing).look, first(study).look) == (16, 40)


def test_a_seed_in_which_both_diverged_is_no_pair():
    study = synthetic_study(("relu", "elu"), looks=LOOKS, diverged={"elu": 3, "relu": 2}, epochs=2)
    contrast = first(upto(study, rest=16))
    assert contrast.seeds == tuple(range(2, 16))
    assert contrast.p == sequential_p([0, 0, *contrast.differences], LOOKS)


def test_the_first_look_of_three_arms_cannot_show_help_but_no_effect():
    contrast = first(upto(replace(STUDY, margin=50.0), rest=10))
    assert (contrast.seeds_floor, contrast.can_be_shown) == (16, False)
    assert contrast.verdict == "no practical effect"
    assert ids(contrast) == ["too-few-seeds"]
    assert contrast.cautions[0].text == ("the look after 10 seeds cannot show any effect (that after 16 can)")
    later = first(upto(STUDY, rest=16))
    assert (later.can_be_shown, ids(later)) == (True, [])


def test_a_look_can_show_what_holm_leaves_if_another_arm_is_shown():
    """Two arms, one at its second look: after its rejection the other needs 0.05, which its first look allows."""
    study = synthetic_study(("relu", "elu", "gelu"), looks=LOOKS, effects={"elu": 3.0, "gelu": 3.0}, epochs=2)
    contrast = first(upto(study, elu=10, gelu=16))
    assert (contrast.can_be_shown, contrast.verdict) == (True, "helps")
    assert "only once another arm's is shown" in contrast.cautions[0].text


def test_looks_that_can_show_nothing():
    contrast = first(synthetic_study(("relu", "elu"), looks=(3, 5), epochs=2))
    assert (contrast.seeds_floor, contrast.can_be_shown) == (None, False)
    assert contrast.cautions[0].text == "the look after 5 seeds cannot show any effect"


def test_no_practical_effect_needs_converged_pairs():
    study = replace(
        synthetic_study(("relu", "elu"), looks=LOOKS, diverged={"elu": 6, "relu": 6}, epochs=2), margin=60.0
    )
    contrast = first(upto(study, rest=10))
    assert (contrast.verdict, contrast.negligible) == ("inconclusive", False)
    assert "too-few-converged" in ids(contrast)


def test_power_has_no_law_at_looks():
    contrast = first(upto(STUDY, rest=16), "gelu")
    assert (contrast.smallest_detectable, contrast.seeds_needed) == (None, None)
    assert "power" not in sentence(contrast)


def apart(study):
    """The study with other initial weights in each arm, so that nothing is paired."""
    return replace(study, trials=tuple(replace(trial, init_digest=trial.arm) for trial in study.trials))


def test_unpaired_runs_wait_for_the_last_look():
    study = apart(synthetic_study(("relu", "elu"), looks=LOOKS, effects={"elu": 3.0}, epochs=2))
    contrast = first(upto(study, rest=39))
    assert (contrast.p, contrast.look, contrast.verdict, contrast.can_be_shown) == (1.0, None, "inconclusive", False)
    assert "unpaired-looks" in ids(contrast)
    assert "elu is judged only after all 40 seeds" in sentence(contrast)
    last = first(study)
    assert (last.look, last.verdict) == (40, "helps")
    assert last.p == permutation_p(last.arm_values, last.control_values)
    expected = difference_interval(last.arm_values, last.control_values, resolution=100 / 360)
    assert last.interval == tuple(map(float, expected))
    assert "unpaired-looks" not in ids(last)
    assert "adjusted" not in sentence(last)


def test_exploratory_contrasts_are_those_of_a_fixed_study():
    study = upto(STUDY, elu=16)
    fixed = replace(study, looks=())
    assert analyse(study).secondary == analyse(fixed).secondary
    assert analyse(study).converged == analyse(fixed).converged


@pytest.mark.parametrize(
    ("ended", "arm", "words"),
    [
        (16, "elu", "). Decided at the look after 16 seeds of up to 40. All"),
        (16, "gelu", "Not decided at the look after 16 seeds; perhaps decided by 40 seeds (78 %)."),
        (40, "elu", "Decided at the look after 40 seeds, the last."),
    ],
)
def test_the_sentence_names_the_look(ended, arm, words):
    told = sentence(first(upto(STUDY, rest=ended), arm))
    assert words in told
    assert "95 % interval adjusted for looking" in told


def test_a_decided_arm_misses_no_further_seeds():
    def missing(study):
        return {summary.arm: summary.missing for summary in analyse(study).arms}

    assert missing(upto(STUDY, rest=10)) == {"relu": 30, "elu": 30, "gelu": 30}
    assert missing(upto(STUDY, rest=16)) == {"relu": 24, "elu": 0, "gelu": 24}
    alone = replace(STUDY, arms=("relu", "elu"), trials=tuple(t for t in STUDY.trials if t.arm != "gelu"))
    assert missing(upto(alone, rest=16)) == {"relu": 0, "elu": 0}
    assert missing(upto(alone, elu=16)) == {"relu": 0, "elu": 0}
    assert missing(replace(upto(STUDY, rest=16), looks=())) == {"relu": 24, "elu": 24, "gelu": 24}
