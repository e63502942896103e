"""Object of `slopewise run --json`."""

import json
from dataclasses import replace

import pytest

from slopewise.analysis import analyse, sentence
from slopewise.report import to_json
from slopewise.testing import synthetic_study


def strict(study):
    """Return an object as a parser without NaN reads it."""
    text = json.dumps(to_json(study), allow_nan=False)
    return json.loads(text, parse_constant=pytest.fail)


def test_has_the_judgement_with_all_its_figures():
    study = synthetic_study(seeds=4, epochs=2, diverged={"prelu_shared": 1}, failed={"leaky_relu": 1})
    result, analysis = strict(study), analyse(study)
    assert result["control"] == "relu"
    assert result["seeds"] == [0, 1, 2, 3]
    assert len(result["contrasts"]) == len(analysis.primary) + len(analysis.secondary)
    for shown, contrast in zip(result["contrasts"], analysis.primary, strict=False):
        assert shown["metric"] == "test_accuracy"
        assert shown["arm"] == contrast.arm
        assert shown["difference"] == contrast.difference
        assert shown["interval"] == list(contrast.interval)
        assert shown["p"] == contrast.p
        assert shown["verdict"] == contrast.verdict
        assert shown["differences"] == list(contrast.differences)
        assert shown["sentence"] == sentence(contrast)
    assert [contrast["arm"] for contrast in result["converged"]] == list(study.arms[1:])
    assert result["diverged"] == [{"arm": "prelu_shared", "seed": 0, "step": 27, "cause": "training loss is nan"}]
    assert [(trial["arm"], trial["seed"]) for trial in result["failed"]] == [("leaky_relu", 3)]


def test_has_the_cost_with_stock_pytorch_beside_that_with_the_kernels():
    relu, prelu = strict(synthetic_study(("relu", "prelu_shared"), seeds=2, epochs=2))["arms"]
    assert (relu["cost_ratio"], relu["stock_ratio"], relu["stock_cost_ratio"]) == (1, None, None)
    assert prelu["stock_ratio"] == 1.2
    assert prelu["stock_cost_ratio"] == pytest.approx(1.2 * prelu["cost_ratio"])
    assert prelu["stock_reason"] is None


def test_counts_trials():
    study = synthetic_study(("relu", "elu"), seeds=3, epochs=1, diverged={"elu": 1}, failed={"elu": 1})
    counts = strict(replace(study, trials=study.trials[1:]))["trials"]
    assert counts["planned"] == 6
    assert [counts[key] for key in ("finished", "failed", "diverged", "missing")] == [4, 1, 1, 1]
    assert counts["arms"]["relu"] == {"finished": 2, "failed": 0, "diverged": 0, "missing": 1}


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_missing_values_are_null(keep):
    study = synthetic_study(("relu", "elu"), seeds=1, epochs=1)
    result = strict(replace(study, trials=study.trials[:keep], spec={"lr": float("inf")}))
    assert result["contrasts"][0]["interval"] is None
    assert result["spec"] == {"lr": None}
