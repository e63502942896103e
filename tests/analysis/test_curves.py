import dataclasses

import pytest
from scipy import stats

from slopewise.analysis import Curve, curves
from slopewise.testing import replace_score, synthetic_study


def test_mean_and_interval_over_converged_seeds(study, trial, epoch):
    finals = [0.9, 0.8, 0.7]
    trials = tuple(
        trial("relu", seed, 90, epochs=(epoch(0, 0, 0.1), epoch(1, 20, final, train_loss=1 - final)))
        for seed, final in enumerate(finals)
    )
    diverged = trial("relu", 3, None, epochs=(epoch(0, 0, 0.0), epoch(1, 20, 0.0)))
    records = study({"relu": [90] * 4}, trials=(*trials, diverged))

    accuracy = curves(records, "validation_accuracy")["relu"]
    band = stats.ttest_1samp([90, 80, 70], 0).confidence_interval(0.95)
    assert accuracy == Curve(
        "relu",
        steps=(0, 20),
        epochs=(0, 1),
        mean=pytest.approx((10, 80)),
        low=pytest.approx((10, band.low)),
        high=pytest.approx((10, band.high)),
        n=(3, 3),
    )
    loss = curves(records, "train_loss")["relu"]  # none before training
    assert (loss.epochs, loss.n) == ((1,), (3,))
    assert loss.mean == pytest.approx((0.2,))


def test_units_are_weighted(study, trial, epoch, site):
    sites = (site(0, "act1", 10), site(0, "act2", 30), site(1, "act1", 10, dead=0.8), site(1, "act2", 30, dead=0.2))
    records = study({"relu": [90]}, trials=(trial("relu", 0, 90, epochs=(epoch(0, 0), epoch(1, 9)), sites=sites),))
    assert curves(records, "never_positive")["relu"].mean == pytest.approx((0, 100 * 14 / 40))
    assert curves(records, "zero_gradient")["relu"].mean == pytest.approx((0, 100 * 7 / 40))


def test_one_seed_has_no_band():
    curve = curves(synthetic_study(("relu",), seeds=1, epochs=2), "train_accuracy")["relu"]
    assert (curve.epochs, curve.n, curve.low, curve.high) == ((1, 2), (1, 1), (None, None), (None, None))


def test_a_value_that_some_seeds_lack_counts_where_it_exists():
    study = synthetic_study(("relu",), seeds=3, epochs=1)
    first = study.trials[0]
    gap = replace_score(first, "validation", "loss", None, epoch=1)
    curve = curves(dataclasses.replace(study, trials=(gap, *study.trials[1:])), "validation_loss")["relu"]
    assert curve.n == (3, 2)


def test_arms_without_a_converged_seed_have_empty_curves():
    study = synthetic_study(("relu", "elu", "gelu"), seeds=2, diverged={"elu": 2}, failed={"gelu": 2})
    result = curves(study, "validation_accuracy")
    assert list(result) == ["relu", "elu", "gelu"]
    assert result["elu"] == Curve("elu", (), (), (), (), (), ())
    assert result["gelu"] == Curve("gelu", (), (), (), (), (), ())


def test_unknown_value():
    with pytest.raises(ValueError, match="did you mean 'train_loss'"):
        curves(synthetic_study(("relu",), seeds=1), "training_loss")
