import statistics

import pytest

from slopewise.testing import synthetic_study


def test_same_arguments_same_records():
    assert synthetic_study(seeds=2) == synthetic_study(seeds=2)
    assert synthetic_study(seeds=2) != synthetic_study(seeds=2, seed=1)


def test_trials_are_paired_and_in_the_plans_order():
    study = synthetic_study(seeds=3)
    assert [(trial.arm, trial.seed) for trial in study.trials] == [(a, s) for a in study.arms for s in study.seeds]
    for seed in study.seeds:
        assert len({trial.init_digest for trial in study.trials if trial.seed == seed}) == 1
    assert len({trial.init_digest for trial in study.trials}) == 3


def test_effects_shift_test_accuracy():
    study = synthetic_study(("relu", "elu"), seeds=40, effects={"elu": -5})
    mean = {
        arm: statistics.fmean(100 * t.score("test", "accuracy") for t in study.trials if t.arm == arm)
        for arm in study.arms
    }
    assert mean["relu"] == pytest.approx(95, abs=0.5)
    assert mean["elu"] == pytest.approx(90, abs=0.5)


def test_diverged_and_failed_trials_look_like_real_ones():
    study = synthetic_study(("relu", "elu"), seeds=4, diverged={"elu": 1}, failed={"elu": 2})
    diverged, finished, *failed = [trial for trial in study.trials if trial.arm == "elu"]
    assert diverged.diverged
    assert (diverged.status, diverged.score("test", "accuracy")) == ("finished", None)
    assert diverged.epochs[-1].step < diverged.diverged_step == diverged.steps
    assert finished.score("train", "loss", 0) is None
    assert len(finished.epochs) == 13
    assert finished.steps == finished.epochs[-1].step
    assert all(trial.error and not trial.epochs and not trial.diverged for trial in failed)


def test_slopes_follow_the_arms_name():
    study = synthetic_study(("relu", "prelu_shared", "prelu_channel"), seeds=1)
    first = {trial.arm: trial.sites[-6] for trial in study.trials}
    assert [site.slopes for site in first.values()] == [0, 1, first["prelu_channel"].units]
    assert first["relu"].slope_median is None
    assert first["prelu_shared"].slope_min == first["prelu_shared"].slope_max
    assert first["prelu_channel"].slope_min < first["prelu_channel"].slope_q1 < first["prelu_channel"].slope_max


def test_operators_are_compared_in_the_first_seed_of_what_learns_slopes():
    study = synthetic_study(("relu", "prelu_shared", "prelu_channel"), seeds=2, epochs=1)
    costs = {(trial.arm, trial.seed): trial.operator_costs for trial in study.trials if trial.operator_costs}
    assert list(costs) == [("prelu_shared", 0), ("prelu_channel", 0)]
    for (cost,) in costs.values():
        assert cost.stock_seconds / cost.kernels_seconds == pytest.approx(cost.stock_ratio)


def test_unknown_arms_are_refused():
    with pytest.raises(ValueError, match=r"unknown arms \['gelu'\]"):
        synthetic_study(("relu",), effects={"gelu": 1.0})
