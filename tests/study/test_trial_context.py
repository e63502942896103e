"""The argument of a training function: random numbers, the arm, rates, the monitor, the log."""

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slopewise.errors import FunctionError
from slopewise.study import StudySpec, TrialContext

METRIC = {"metrics": [{"name": "score", "better": "higher", "unit": "dB"}], "margin": 0.1}


@pytest.fixture
def trial(tmp_path: Path) -> Callable[..., TrialContext]:
    def make(arm: str = "prelu_channel", seed: int = 0, **fields: object) -> TrialContext:
        spec = StudySpec(**{"arms": "relu,prelu_channel", "train": {"function": "m:f"}, **METRIC, **fields})
        return TrialContext(spec, arm, seed, tmp_path)

    return make


def test_random_numbers_are_those_of_the_seed_in_every_arm(trial: Callable[..., TrialContext]) -> None:
    def draw(context: TrialContext) -> tuple[float, ...]:
        context.seed_all()
        numbers = random.random(), float(np.random.rand()), torch.rand(1).item()  # noqa: NPY002
        return *numbers, torch.rand(1, generator=context.stream("order")).item()

    relu, prelu, other = draw(trial("relu")), draw(trial("prelu_channel")), draw(trial("relu", 1))
    assert relu == prelu
    assert not set(relu) & set(other)
    assert trial().stream("order").initial_seed() != trial().stream("augment").initial_seed()


def test_apply_changes_the_activations_and_nothing_else(trial: Callable[..., TrialContext]) -> None:
    class Drawing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (1 + random.random() + np.random.rand())  # noqa: NPY002

    torch.manual_seed(5)
    original = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2), Drawing())
    expected = {name: value.clone() for name, value in original.state_dict().items()}
    state, others = torch.random.get_rng_state(), (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    context = trial()
    model = context.apply(original, torch.zeros(2, 3))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == others  # noqa: NPY002
    assert type(model[1]).__name__ == "PReLU"
    for name, value in expected.items():
        assert torch.equal(model.state_dict()[name], value)
    first = context.notes.digest
    with torch.no_grad():
        model[0].weight.add_(1)
    assert context.notes.digest == first
    groups = context.param_groups(model, lr=0.1, weight_decay=0.01)
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(0.1, 0.01), (0.1, 0.0)}
    with pytest.raises(FunctionError, match=r"called trial\.apply twice"):
        context.apply(model, torch.zeros(2, 3))


def test_an_arm_may_have_a_rate_of_its_own(trial: Callable[..., TrialContext]) -> None:
    arms = ["relu", {"activation": "prelu_channel", "lr": 0.3, "slope_lr_scale": 0.5, "slope_weight_decay": 0.2}]
    context = trial(arms=arms)
    model = context.apply(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.zeros(2, 3))
    assert {group["lr"] for group in context.param_groups(model, lr=0.1)} == {0.3, 0.15}
    assert [group["weight_decay"] for group in context.param_groups(model, lr=0.1)] == [0.0, 0.0, 0.2]


def test_a_copied_model_that_holds_the_trial_logs_to_the_same_trial(trial: Callable[..., TrialContext]) -> None:
    class Holder(nn.Module):
        def __init__(self, trial: TrialContext) -> None:
            super().__init__()
            self.trial, self.net = trial, nn.Sequential(nn.Linear(3, 4), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    context = trial()
    model = context.apply(Holder(context), torch.zeros(2, 3))
    assert model.trial is context
    with pytest.raises(TypeError, match="cannot be sent to another process or saved"):
        pickle.dumps(context)


def test_curves_of_a_resumed_trial_have_no_gap(trial: Callable[..., TrialContext], tmp_path: Path) -> None:
    first = trial()
    for step in (10, 20, 30):
        first.log(step, loss=1 / step, lr=0.1)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # killed here
    second = trial()
    second.log(30, loss=0.5)  # its checkpoint was of step 20
    second.log(40, loss=0.25)
    assert [(epoch.epoch, epoch.step) for epoch in second.notes.epochs] == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert [row.value for row in second.notes.scores] == [1 / 10, 1 / 20, 0.5, 0.25]
    assert [epoch.seconds_per_step is None for epoch in second.notes.epochs] == [True, True, True, False]
    third = trial()
    third.log(10, loss=7)  # from the start again
    assert [row.value for row in third.notes.scores] == [7]
    fourth = trial()
    fourth.log(20, loss=8)
    assert [row.value for row in fourth.notes.scores] == [7, 8]


def test_watching_can_be_turned_off(trial: Callable[..., TrialContext]) -> None:
    context = trial(monitor={"every": 0})
    model = context.apply(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.zeros(2, 3))
    with context.watch(model):
        model(torch.ones(2, 3)).sum().backward()
    assert context.notes.monitor is None
