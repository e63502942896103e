"""Shared slopes in studies: the mean gradient by default, PyTorch's sum where the spec or an arm asks for it."""

import pytest

from slopewise.study import parse_spec, run_trial

TORCH = {"name": "torch", "activation": "prelu_shared", "shared_gradient": "sum"}


def slopes_after_an_epoch(**fields):
    """Return the distance of each arm's slopes from 0.25."""
    spec = parse_spec(
        {
            "arms": ["prelu_shared", TORCH],
            "control": "prelu_shared",
            "data": {"train_size": 200},
            "seeds": [0, 1],
            **fields,
            "train": {"epochs": 1, "lr": 0.01, **fields.get("train", {})},
        }
    )
    moves = {}
    for arm in spec.arms:
        sites = [site for site in run_trial(spec, arm.name, 1).sites if site.epoch == 1]
        moves[arm.name] = max(abs(site.slope_median - 0.25) for site in sites)
    return moves


def test_an_arm_and_the_table_can_ask_for_the_sum():
    default = slopes_after_an_epoch()
    assert 0 < 4 * default["prelu_shared"] < default["torch"]  # layers have 16 to 64 channels
    both = slopes_after_an_epoch(train={"shared_gradient": "sum"})
    assert both["prelu_shared"] == both["torch"] == default["torch"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1000, 1003])
def test_the_default_study_at_twice_its_rate(seed):
    """PyTorch's sum diverges here in most seeds."""
    spec = parse_spec({"arms": ["prelu_shared"], "seeds": [0, seed], "train": {"lr": 0.05, "epochs": 20}})
    record = run_trial(spec, "prelu_shared", seed)
    assert not record.diverged
    assert record.score("validation", "accuracy") > 0.9
