import dataclasses

import pytest

from slopewise.analysis import LayerSlopes, Pairing, analyse
from slopewise.records import OperatorCostRecord, TrialRecord
from slopewise.testing import synthetic_study


def test_counts_and_accuracy(study):
    records = study({"relu": [90, 92, None], "elu": [None, None]}, seeds=(0, 1, 2, 3, 4))
    failed = TrialRecord("relu", 3, "failed", error="...")
    relu, elu = analyse(dataclasses.replace(records, trials=(*records.trials, failed))).arms
    assert (relu.finished, relu.failed, relu.diverged, relu.missing) == (3, 1, 1, 1)
    assert relu.score_mean == pytest.approx((90 + 92 + 10) / 3)
    assert relu.score_sd == pytest.approx(((26**2 + 28**2 + 54**2) / 2) ** 0.5)
    assert relu.converged_score_mean == pytest.approx(91)
    assert (elu.finished, elu.failed, elu.diverged, elu.missing) == (2, 0, 2, 3)
    assert (elu.score_mean, elu.score_sd, elu.converged_score_mean) == (10, 0, None)


def test_nothing_finished():
    (summary,) = analyse(synthetic_study(("relu",), seeds=2, failed={"relu": 2})).arms
    assert (summary.finished, summary.failed, summary.missing) == (0, 2, 0)
    figures = (summary.score_mean, summary.score_sd, summary.converged_score_mean)
    assert (*figures, summary.seconds_per_step, summary.cost_ratio, summary.slopes) == (*[None] * 5, ())


def test_cost_is_the_median_of_paired_ratios(study, trial):
    times = {"relu": [1.0, 2.0, 4.0, 1.0, 1.0], "elu": [3.0, 2.0, 8.0, 50.0, 3.0]}
    diverged = {("elu", 3), ("relu", 4)}
    trials = tuple(
        trial(arm, seed, None if (arm, seed) in diverged else 90, seconds_per_step=seconds)
        for arm, values in times.items()
        for seed, seconds in enumerate(values)
    )
    relu, elu = analyse(study({"relu": [90] * 5, "elu": [90] * 5}, trials=trials)).arms
    assert (relu.seconds_per_step, relu.cost_ratio) == (1.5, 1)
    assert (elu.seconds_per_step, elu.cost_ratio) == (
        3,
        2,
    )  # of 3, 1 and 2; the control of seed 4 has no time to compare with


def compared(ratio: float | None, reason: str | None = None):
    return (OperatorCostRecord(30, stock_ratio=ratio, reason=reason),)


def test_the_cost_with_stock_pytorch_is_the_arms_own_times_the_ratio_of_the_operators(study, trial):
    trials = (
        trial("relu", 0, 90, seconds_per_step=2.0),
        trial("relu", 1, 90, seconds_per_step=2.0),
        trial("prelu", 0, None, operator_costs=compared(1.5)),  # it diverged; its steps were timed all the same
        trial("prelu", 1, 90, seconds_per_step=3.0),
        trial("gpu", 0, 90, seconds_per_step=4.0, operator_costs=compared(None, "no kernels")),
    )
    relu, prelu, gpu = analyse(study({"relu": [90] * 2, "prelu": [90] * 2, "gpu": [90]}, trials=trials)).arms
    assert (relu.stock_ratio, relu.stock_cost_ratio, relu.stock_reason) == (None, None, None)
    assert (prelu.cost_ratio, prelu.stock_ratio, prelu.stock_cost_ratio, prelu.stock_reason) == (1.5, 1.5, 2.25, None)
    assert (gpu.cost_ratio, gpu.stock_ratio, gpu.stock_cost_ratio, gpu.stock_reason) == (2, None, None, "no kernels")


def test_several_comparisons_of_an_arm_count_by_their_median(study, trial):
    costs = [compared(None, "no kernels"), compared(1.2), compared(4.0), compared(1.4)]
    trials = tuple(trial("prelu", seed, 90, operator_costs=cost) for seed, cost in enumerate(costs))
    (prelu,) = analyse(study({"prelu": [90] * 4}, trials=trials)).arms
    assert (prelu.stock_ratio, prelu.stock_reason) == (1.4, None)
    assert prelu.stock_cost_ratio is None  # its trials have no times


def test_final_slopes_over_converged_seeds(study, trial, site):
    def sites(shift: float):
        return (
            site(0, "act1", 8, [9.0, 9.0, 9.0]),
            site(2, "act2", 8, [0.1 + shift, 0.2 + shift, 0.3 + shift]),
            site(2, "act1", 8, [0.5 + shift]),
            site(2, "relu", 8),
        )

    trials = (
        *(trial("prelu", seed, 90, sites=sites(shift)) for seed, shift in enumerate((0.0, 0.25, 1.0))),
        trial("prelu", 3, None, sites=sites(100.0)),
    )
    (summary,) = analyse(study({"prelu": [90] * 4}, trials=trials)).arms
    assert [layer.layer for layer in summary.slopes] == ["act2", "act1"]  # the model's order
    assert summary.slopes == (
        LayerSlopes("act2", pytest.approx(0.1), pytest.approx(0.45), pytest.approx(1.3)),
        LayerSlopes("act1", pytest.approx(0.5), pytest.approx(0.75), pytest.approx(1.5)),
    )


def test_arms_without_learned_slopes_have_none():
    summaries = analyse(synthetic_study(seeds=2)).arms
    assert [len(summary.slopes) for summary in summaries] == [0, 0, 0, 6, 6]


def test_pairing_holds():
    assert analyse(synthetic_study(seeds=3, failed={"relu": 1}, diverged={"elu": 1}, arms=("relu", "elu"))).pairing == (
        Pairing(checked=2, broken=())
    )


@pytest.mark.parametrize("digest", ["init_digest", "data_digest"])
def test_pairing_broken(digest):
    study = synthetic_study(("relu", "elu"), seeds=4)
    trials = tuple(
        dataclasses.replace(trial, **{digest: "other"}) if (trial.arm, trial.seed) == ("elu", 2) else trial
        for trial in study.trials
    )
    assert analyse(dataclasses.replace(study, trials=trials)).pairing == Pairing(checked=4, broken=(2,))
