import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slopewise.analysis import analyse
from slopewise.records import StudyRecord
from slopewise.testing import synthetic_study

OPPOSITE = {"helps": "hurts", "hurts": "helps"}


def swapped(study: StudyRecord) -> StudyRecord:
    """The same records with the other arm as control."""
    return dataclasses.replace(study, arms=study.arms[::-1], control=study.arms[-1])


def renamed_copy(study: StudyRecord, arm: str) -> StudyRecord:
    """With a second arm that has exactly the control's trials."""
    copies = tuple(dataclasses.replace(trial, arm=arm) for trial in study.trials if trial.arm == study.control)
    return dataclasses.replace(study, arms=(*study.arms, arm), trials=study.trials + copies)


def test_by_hand(study):
    records = study({"relu": [90, 91, 92, 93], "elu": [91, 91, 94, 94]}, seeds=(0, 1, 2, 3))
    (contrast,) = analyse(records).primary
    assert contrast.arm_values == pytest.approx((91, 91, 94, 94))
    assert contrast.control_values == pytest.approx((90, 91, 92, 93))
    assert contrast.differences == pytest.approx((1, 0, 2, 1))
    assert contrast.difference == pytest.approx(1)
    assert contrast.sd == pytest.approx((2 / 3) ** 0.5)
    half = 3.182446 * (2 / 3) ** 0.5 / 2  # t[3] at 97.5 %
    assert contrast.interval == pytest.approx((1 - half, 1 + half), rel=1e-6)
    assert contrast.p == contrast.p_holm == 4 / 16  # +++ and ---, the zero either way
    assert contrast.correlation == pytest.approx(6 / (5 * 9) ** 0.5)
    assert (contrast.verdict, contrast.negligible, contrast.tests, contrast.seeds_floor) == (
        "inconclusive",
        False,
        1,
        6,
    )
    assert (contrast.unit, contrast.margin, contrast.chance, contrast.smallest_detectable) == ("points", 0.5, 10, None)


def test_diverged_seeds_count_as_chance_and_are_left_out_of_the_second_line(study):
    records = study({"relu": [90, 91, None, 93], "elu": [91, None, None, 94]}, classes=4)
    analysis = analyse(records)
    (primary,), (converged,) = analysis.primary, analysis.converged
    assert primary.seeds == (0, 1, 2, 3)
    assert primary.differences == pytest.approx((1, 25 - 91, 0, 1))
    assert (primary.diverged, primary.control_diverged, primary.chance) == (2, 1, 25)
    assert converged.seeds == (0, 3)
    assert converged.differences == pytest.approx((1, 1))
    assert (converged.diverged, converged.control_diverged, converged.chance) == (2, 1, None)
    assert all(contrast.seeds in {(), (0, 3)} for contrast in analysis.secondary)


def test_seeds_that_one_arm_lacks_are_not_pairs(study, trial):
    records = study({"relu": [90, 91, 92], "elu": [91, 92, 93]})
    trials = [t for t in records.trials if (t.arm, t.seed) != ("elu", 0)]
    trials[0] = dataclasses.replace(trials[0], seed=2)  # relu: seeds 2, 1; the failed one below is none
    trials[2] = dataclasses.replace(trial("relu", 0, 50), status="failed", error="...", test_accuracy=None)
    (contrast,) = analyse(dataclasses.replace(records, trials=tuple(trials))).primary
    assert contrast.seeds == (1, 2)
    assert contrast.control_values == pytest.approx((91, 90))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.floats(-3, 3), st.integers(0, 2), st.integers(0, 10))
def test_swapping_arm_and_control_swaps_helps_and_hurts(seeds, effect, diverged, seed):
    study = synthetic_study(
        ("relu", "elu"), seeds, epochs=2, effects={"elu": effect}, diverged={"elu": diverged}, seed=seed
    )
    forth, back = analyse(study), analyse(swapped(study))
    for there, here in zip(forth.primary + forth.converged, back.primary + back.converged, strict=True):
        assert here.differences == tuple(-d for d in there.differences)
        assert here.verdict == OPPOSITE.get(there.verdict, there.verdict)
        assert (here.p, here.sd, here.smallest_detectable) == (there.p, there.sd, there.smallest_detectable)
        if there.interval:
            assert here.interval == pytest.approx((-there.interval[1], -there.interval[0]))


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(10)), st.randoms())
def test_names_of_seeds_and_order_of_trials_do_not_matter(seeds, random):
    study = synthetic_study(("relu", "elu", "gelu"), epochs=2, effects={"elu": 0.8}, diverged={"gelu": 2})
    trials = [dataclasses.replace(trial, seed=seeds[trial.seed]) for trial in study.trials]
    shuffled = dataclasses.replace(study, trials=tuple(random.sample(trials, len(trials))))
    for there, here in zip(analyse(study).primary, analyse(shuffled).primary, strict=True):
        assert (here.difference, here.sd, here.p, here.p_holm, here.verdict) == (
            there.difference,
            there.sd,
            there.p,
            there.p_holm,
            there.verdict,
        )
        assert here.interval == pytest.approx(there.interval)


def test_the_same_change_in_both_arms_changes_nothing(study):
    scores = {"relu": [90.0, 91, 92.5, 93], "elu": [91.0, 91.5, 94, 94.25]}
    lower = {arm: [value - 40 for value in values] for arm, values in scores.items()}
    (here,), (there,) = analyse(study(scores)).primary, analyse(study(lower)).primary
    assert here.differences == pytest.approx(there.differences)
    assert (here.p, here.verdict) == (there.p, there.verdict)
    assert here.correlation == pytest.approx(there.correlation)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_identical_arms_differ_by_exactly_zero(seeds):
    analysis = analyse(renamed_copy(synthetic_study(("relu",), seeds, diverged={"relu": 1}), "relu again"))
    (contrast,) = analysis.primary
    assert set(contrast.differences) == {0.0}
    assert (contrast.interval, contrast.p, contrast.p_holm) == ((0, 0), 1, 1)
    assert contrast.verdict == "inconclusive"  # differences without spread are no evidence that none is larger
    assert "identical" in {caution.id for caution in contrast.cautions}
    assert {c.verdict for c in analysis.secondary} == {"inconclusive"}  # no margin, no such claim
    assert {d for c in analysis.secondary for d in c.differences} == {0.0}


@pytest.mark.parametrize(("seeds", "expected"), [(2, "inconclusive"), (5, "inconclusive"), (6, "helps")])
def test_a_constant_difference_still_has_to_pass_the_test(study, seeds, expected):
    (contrast,) = analyse(study({"relu": [90] * seeds, "elu": [92] * seeds})).primary
    assert contrast.interval == (contrast.differences[0],) * 2
    assert contrast.verdict == expected
    assert contrast.correlation is None


def test_every_planned_arm_counts_in_the_correction(study):
    scores = {"relu": [90.0] * 7, "elu": [92.0] * 7}
    alone = analyse(study(scores)).primary[0]
    with_unfinished = analyse(study(scores, arms=("relu", "elu", "gelu", "silu"))).primary[0]
    assert (alone.p_holm, alone.verdict) == (2 / 2**7, "helps")
    assert (with_unfinished.p_holm, with_unfinished.tests) == (3 * 2 / 2**7, 3)
    four = analyse(study(scores, arms=("relu", "elu", "gelu", "silu", "rrelu"))).primary[0]
    assert four.verdict == "inconclusive"


def test_negligible_beside_helps(study):
    rng = np.random.default_rng(0)
    control = rng.normal(90, 1, 20)
    arm = control + 0.2 + rng.normal(0, 0.05, 20)
    (contrast,) = analyse(study({"relu": list(control), "elu": list(arm)})).primary
    assert (contrast.verdict, contrast.negligible) == ("helps", True)


@pytest.mark.parametrize(
    "study",
    [
        StudyRecord(("relu", "elu"), "relu", (0, 1), 0.5, 10),
        StudyRecord(("relu",), "relu", (), 0.5, 10),
        synthetic_study(("relu",)),
        synthetic_study(seeds=1),
        synthetic_study(seeds=2),
        synthetic_study(seeds=3, failed={"relu": 3}),
        synthetic_study(seeds=3, failed={"elu": 3}, arms=("relu", "elu")),
        synthetic_study(seeds=3, diverged={"relu": 3}),
        synthetic_study(seeds=3, diverged={"relu": 3, "elu": 3}, arms=("relu", "elu")),
        synthetic_study(seeds=4, epochs=1, diverged={"prelu_shared": 1}, failed={"relu": 1}),
        dataclasses.replace(synthetic_study(), trials=synthetic_study().trials[11:33]),
        dataclasses.replace(synthetic_study(), margin=0.0),
        dataclasses.replace(
            synthetic_study(seeds=8),
            trials=tuple(dataclasses.replace(t, epochs=(), sites=()) for t in synthetic_study(seeds=8).trials),
        ),
    ],
)
def test_any_part_of_a_study_can_be_analysed(study):
    analysis = analyse(study)
    arms = len(study.arms) - 1
    assert [len(analysis.arms), len(analysis.primary), len(analysis.converged)] == [arms + 1, arms, arms]
    json.dumps(dataclasses.asdict(analysis), allow_nan=False)  # None, never NaN or infinity
    for contrast in analysis.primary + analysis.converged + analysis.secondary:
        pairs = len(contrast.seeds)
        assert (contrast.difference is None) == (contrast.p is None) == (contrast.p_holm is None) == (pairs == 0)
        assert (contrast.interval is None) == (contrast.sd is None) == (pairs < 2)
        assert (contrast.smallest_detectable is None) == (pairs < contrast.seeds_floor)
        assert (contrast.seeds_needed is None) == (pairs < 2 or not contrast.margin)
        if pairs < 2:
            assert contrast.verdict == "inconclusive"


def test_a_large_effect_is_found_and_a_missing_one_is_not():
    analysis = analyse(synthetic_study(effects={"elu": 2.5, "gelu": -2.5}, arms=("relu", "elu", "gelu", "silu")))
    assert [c.verdict for c in analysis.primary[:2]] == ["helps", "hurts"]
    assert analysis.primary[2].verdict in {"inconclusive", "no practical effect"}
