import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slopewise.analysis import analyse, sentence
from slopewise.records import StudyRecord, TrialRecord, classification_metrics
from slopewise.testing import replace_score, synthetic_study

OPPOSITE = {"helps": "hurts", "hurts": "helps"}


def swapped(study: StudyRecord) -> StudyRecord:
    """Return the same records with the other arm as control."""
    return dataclasses.replace(study, arms=study.arms[::-1], control=study.arms[-1])


def renamed_copy(study: StudyRecord, arm: str) -> StudyRecord:
    """Return the study with a second arm that has exactly the control's trials."""
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
    assert primary.seeds == (0, 1, 3)  # what both lost tells nothing
    assert primary.differences == pytest.approx((1, 25 - 91, 1))
    assert (primary.finished, primary.converged) == (4, 2)
    assert (primary.diverged, primary.control_diverged, primary.both_diverged, primary.chance) == (2, 1, 1, 25)
    assert converged.seeds == (0, 3)
    assert converged.differences == pytest.approx((1, 1))
    assert (converged.diverged, converged.control_diverged, converged.chance) == (2, 1, None)
    assert all(contrast.seeds in {(), (0, 3)} for contrast in analysis.secondary)


def test_seeds_that_one_arm_lacks_are_not_pairs(study, trial):
    records = study({"relu": [90, 91, 92], "elu": [91, 92, 93]})
    trials = [t for t in records.trials if (t.arm, t.seed) != ("elu", 0)]
    trials[0] = dataclasses.replace(trials[0], seed=2)  # relu: seeds 2, 1; the failed one below is none
    trials[2] = dataclasses.replace(trial("relu", 0, 50), status="failed", error="...", scores=())
    (contrast,) = analyse(dataclasses.replace(records, trials=tuple(trials))).primary
    assert contrast.seeds == (1, 2)
    assert contrast.control_values == pytest.approx((91, 90))


def test_pairs_that_both_arms_lost_say_nothing(study):
    (contrast,) = analyse(study({"relu": [None] * 10, "elu": [None] * 10})).primary
    assert (contrast.seeds, contrast.interval, contrast.verdict) == ((), None, "inconclusive")
    assert (contrast.finished, contrast.both_diverged) == (10, 10)


def test_two_small_differences_beside_eight_lost_pairs_say_nothing(study):
    lost = [None] * 8
    (contrast,) = analyse(study({"relu": [95.0, 95.0, *lost], "elu": [95.01, 95.02, *lost]})).primary
    assert contrast.seeds == (0, 1)
    assert max(map(abs, contrast.interval)) < contrast.margin
    assert (contrast.verdict, contrast.negligible) == ("inconclusive", False)
    assert "both elu and relu diverged in 8 of 10 seeds" in " ".join(caution.text for caution in contrast.cautions)
    assert "2 seeds cannot show any effect; use at least 6" in sentence(contrast)


@pytest.mark.parametrize("control", [9.0, 5.0])
def test_an_arm_that_always_diverges_never_helps(study, control):
    """The same holds beside a control that is worse than chance, and with arm and control exchanged."""
    worse = [control + wiggle for wiggle in (0, 0.1) * 5]
    for scores in ({"relu": worse, "elu": [None] * 10}, {"relu": [None] * 10, "elu": worse}):
        (contrast,) = analyse(study(scores)).primary
        assert set(contrast.differences) == {0.0}
        assert contrast.verdict == "inconclusive"


@pytest.mark.parametrize(("relu", "verdict"), [(90.0, "hurts"), (10.6, "hurts"), (10.2, "hurts")])
def test_an_arm_that_always_diverges_is_never_without_practical_effect(study, relu, verdict):
    """A control that barely learns is close to chance, but training that fails is no small effect."""
    (contrast,) = analyse(study({"relu": [relu, relu + 0.05] * 5, "elu": [None] * 10})).primary
    assert (contrast.verdict, contrast.negligible) == (verdict, False)


def test_few_converged_pairs_are_not_enough_for_no_practical_effect(study):
    relu, elu = [10.2, 10.25] * 5, [10.4] * 5 + [None] * 5
    (contrast,) = analyse(study({"relu": relu, "elu": elu})).primary
    assert max(map(abs, contrast.interval)) < contrast.margin
    assert (contrast.converged, contrast.verdict) == (5, "inconclusive")
    assert "too-few-converged" in {caution.id for caution in contrast.cautions}


def test_an_interval_ends_where_differences_do(study):
    (contrast,) = analyse(study({"relu": [99.0] * 8, "elu": [98, 99, 98, 99, 98, 99, None, None]}, classes=50)).primary
    assert contrast.interval[0] == -100 < contrast.difference < contrast.interval[1]


def test_every_divergence_counts_in_the_rate_that_is_not_excluded(study):
    (contrast,) = analyse(study({"relu": [90.0] * 20, "elu": [None, None, *[91.0] * 18]})).primary
    assert contrast.divergence_bound == pytest.approx(0.283, abs=5e-4)  # Clopper and Pearson: 2 of 20
    assert contrast.control_divergence_bound == pytest.approx(1 - 0.05 ** (1 / 20))


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


@pytest.mark.parametrize("seeds", [3, 4, 10])
def test_identical_arms_differ_by_exactly_zero(seeds):
    analysis = analyse(renamed_copy(synthetic_study(("relu",), seeds, diverged={"relu": 1}), "relu again"))
    (contrast,) = analysis.primary
    assert set(contrast.differences) == {0.0}
    assert len(contrast.seeds) == seeds - 1  # the diverged pair is none
    assert {contrast.p, contrast.p_holm} == {1}
    assert contrast.interval == (0, 0)
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


def put_figure(trial: TrialRecord, name: str, value: float | None) -> TrialRecord:
    """Return the trial with another time or final score."""
    if name == "seconds_per_step":
        return dataclasses.replace(trial, seconds_per_step=value)
    part, metric = name.split("_")
    return replace_score(trial, part, metric, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["test_accuracy", "train_loss", "seconds_per_step", "validation_accuracy"])
def test_a_figure_that_is_no_number_counts_as_missing_and_is_named(name, value):
    study = synthetic_study(("relu", "elu"), seeds=4)
    broken, missing = (
        dataclasses.replace(
            study,
            trials=tuple(put_figure(t, name, put) if (t.arm, t.seed) == ("elu", 2) else t for t in study.trials),
        )
        for put in (value, None)
    )
    analysis, expected = analyse(broken), analyse(missing)
    assert f"{name} of elu, seed 2, is {value}" in analysis.cautions[-1].text
    assert dataclasses.replace(analysis, cautions=()).arms == expected.arms
    for one, other in zip(analysis.primary + analysis.secondary, expected.primary + expected.secondary, strict=True):
        assert dataclasses.replace(one, cautions=()) == dataclasses.replace(other, cautions=())
    json.dumps(dataclasses.asdict(analysis), allow_nan=False)


def elsewhere(study: StudyRecord, arm: str, seeds: range, facts: dict[str, str]) -> StudyRecord:
    """Return the same records with some trials run in another environment, twice as slowly."""
    moved = tuple(
        dataclasses.replace(t, environment="other", seconds_per_step=2 * t.seconds_per_step)
        if t.arm == arm and t.seed in seeds
        else t
        for t in study.trials
    )
    other = {**study.environments["synthetic"], **facts}
    return dataclasses.replace(study, trials=moved, environments={**study.environments, "other": other})


def test_times_are_not_compared_across_machines():
    here = synthetic_study(("relu", "elu"), seeds=10)
    apart = elsewhere(here, "elu", range(10), {"cpu": "another CPU"})
    before, after = analyse(here), analyse(apart)
    (times,) = [contrast for contrast in after.secondary if contrast.metric == "seconds_per_step"]
    assert (times.seeds, times.verdict) == ((), "inconclusive")
    assert after.arms[1].cost_ratio is None
    assert after.primary[0].differences == before.primary[0].differences
    assert after.pairing.apart == tuple(range(10))
    assert "(cpu: 'another CPU' and 'synthetic CPU')" in sentence(after.primary[0])


def test_times_of_the_pairs_that_ran_together_still_count():
    """An arm is added on another day, so that half of its seeds run with another version."""
    here = synthetic_study(("relu", "elu", "gelu"), seeds=8)
    after = analyse(elsewhere(here, "gelu", range(4), {"torch": "2.12.0"}))
    together = {contrast.arm: contrast for contrast in after.secondary if contrast.metric == "seconds_per_step"}
    assert together["elu"].seeds == tuple(range(8))
    assert together["gelu"].seeds == (4, 5, 6, 7)
    assert after.arms[2].cost_ratio == pytest.approx(1, abs=0.1)
    assert after.pairing.apart == (0, 1, 2, 3)
    cautions = {contrast.arm: {caution.id for caution in contrast.cautions} for contrast in after.primary}
    assert ["other-environment" in cautions[arm] for arm in ("elu", "gelu")] == [False, True]


@pytest.mark.parametrize(
    "study",
    [
        StudyRecord(("relu", "elu"), "relu", (0, 1), 0.5, classification_metrics(10)),
        StudyRecord(("relu",), "relu", (), 0.5, classification_metrics(10)),
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
