"""Arms that start from another arm: its learned slopes, or its final weights."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slopewise.analysis import analyse
from slopewise.errors import SlopewiseWarning, SpecError
from slopewise.records import StudyRecord, TrialRecord, classification_metrics
from slopewise.report import render_html
from slopewise.study import Study, StudySpec, parse_spec, run_trial
from slopewise.study._optimizer import build_optimizer
from slopewise.study._preflight import preflight
from slopewise.study._trial import make_fabric
from slopewise.study._trial._run import Trial
from slopewise.study.data import ImageData, load_data
from slopewise.testing import untimed

SLOPES = {"arm": "prelu_channel", "take": "slopes"}
WEIGHTS = {"arm": "relu", "take": "weights"}
FROZEN = {"name": "frozen", "activation": "prelu_channel", "start": SLOPES, "slope_lr_scale": 0.0}
ON = [
    {"name": "relu_on", "activation": "relu", "start": WEIGHTS},
    {"name": "prelu_on", "activation": "prelu_channel", "start": WEIGHTS, "lr": 0.01, "epochs": 1},
]


def tiny(**fields: Any) -> StudySpec:
    train = {"epochs": 2, "lr": 0.05, **fields.pop("train", {})}
    options = {"width": 4, **fields.pop("options", {})}
    return parse_spec(
        {"data": {"train_size": 200}, "model": {"options": options}, "train": train, "seeds": [1, 0], **fields}
    )


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(tiny().data)


def slopes_at(trial: TrialRecord, epoch: int) -> list[tuple[float | None, ...]]:
    return [dataclasses.astuple(site)[4:9] for site in trial.sites if site.epoch == epoch]


def test_slopes_are_those_of_the_other_arms_own_trial_and_the_weights_those_of_the_seed(data: ImageData) -> None:
    spec = tiny(arms=["prelu_channel", FROZEN], monitor={"every": 1})
    donor, frozen = (run_trial(spec, arm, 0, data) for arm in ("prelu_channel", "frozen"))
    assert slopes_at(frozen, 0) == slopes_at(frozen, 2) == slopes_at(donor, 2) != slopes_at(donor, 0)
    assert (frozen.init_digest, frozen.data_digest) == (donor.init_digest, donor.data_digest)
    assert [epoch.step for epoch in frozen.epochs] == [epoch.step for epoch in donor.epochs]
    assert frozen.curve("validation", "loss")[0] != donor.curve("validation", "loss")[0]
    assert frozen.curve("validation", "loss")[0] != donor.curve("validation", "loss")[2]


@pytest.mark.parametrize("arm", ["rrelu", "prelu_shared"])
def test_weights_are_all_that_the_other_arm_has_learned(data: ImageData, arm: str) -> None:
    """Batch statistics too, and slopes; RReLU draws random numbers, as in its own trial."""
    on = {"name": "on", "activation": arm, "start": {"arm": arm, "take": "weights"}}
    spec = tiny(arms=[arm, on], options={"batch_norm": True})
    donor, continued = (run_trial(spec, name, 0, data) for name in (arm, "on"))
    for metric in ("loss", "accuracy"):
        assert continued.score("validation", metric, 0) == donor.score("validation", metric)
    assert slopes_at(continued, 0) == slopes_at(donor, 2)
    assert continued.init_digest != donor.init_digest


def test_a_continued_trial_is_that_of_a_checkpoint_of_the_other_arm(data: ImageData, tmp_path: Path) -> None:
    spec = tiny(arms=["relu", *ON], options={"batch_norm": True})
    donor = Trial(make_fabric(spec.hardware), spec, spec.arm("relu"), 0, data)
    donor.run(None)
    torch.save(donor.setup.built.model.state_dict(), tmp_path / "relu.pt")
    alone = {key: value for key, value in ON[1].items() if key not in ("start", "epochs")}
    model = {"checkpoint": str(tmp_path / "relu.pt"), "options": {"width": 4, "batch_norm": True}}
    loaded = run_trial(tiny(arms=[alone], model=model, train={"epochs": 1}), "prelu_on", 0, data)
    continued = run_trial(spec, "prelu_on", 0, data)
    assert untimed(continued) == untimed(loaded)
    assert len(continued.epochs) == 2
    assert slopes_at(continued, 0) == [(0.25,) * 5] * 6
    assert run_trial(spec, "relu_on", 0, data).init_digest == continued.init_digest


def test_a_shared_slope_is_given_to_all_channels_and_starts_may_follow_each_other(data: ImageData) -> None:
    arms = [
        "prelu_shared",
        {"name": "spread", "activation": "prelu_channel", "start": {"arm": "prelu_shared", "take": "slopes"}},
        {"name": "on", "activation": "prelu_channel", "start": {"arm": "spread", "take": "weights"}, "epochs": 1},
    ]
    spec = tiny(arms=arms)
    shared, spread, on = (run_trial(spec, arm.name, 0, data) for arm in spec.arms)
    assert slopes_at(spread, 0) == slopes_at(shared, 2)
    assert slopes_at(on, 0) == slopes_at(spread, 2)
    assert on.score("validation", "loss", 0) == spread.score("validation", "loss")


def test_without_a_start_there_is_no_trace_of_one(data: ImageData) -> None:
    alone, among = tiny(arms="prelu_channel"), tiny(arms=["relu", "prelu_channel", FROZEN, *ON])
    one, other = (run_trial(spec, "prelu_channel", 0, data) for spec in (alone, among))
    assert untimed(one) == untimed(other)


def test_learned_slopes_are_not_taken_for_uninitialised_memory_however_large() -> None:
    spec = tiny(arms=["prelu_channel", FROZEN])
    layer = torch.nn.PReLU(2, init=931.0)
    with pytest.warns(SlopewiseWarning, match="memory that nobody initialised"):
        build_optimizer(layer, spec.train, spec.arm("prelu_channel"), 1)
    build_optimizer(layer, spec.train, spec.arm("frozen"), 1)  # a warning would be an error


def test_a_trial_without_anything_to_start_from_has_diverged(data: ImageData) -> None:
    wild = {"name": "wild", "activation": "prelu_channel", "lr": 1e6}
    arms = ["relu", wild, {**FROZEN, "start": {"arm": "wild", "take": "slopes"}}]
    arms += [{"name": f"on{n}", "activation": "relu", "start": {"arm": "wild", "take": "weights"}} for n in (1, 2)]
    arms += [{"name": "after", "activation": "relu", "start": {"arm": "on1", "take": "weights"}}]
    spec = tiny(arms=arms, options={"batch_norm": False})
    relu, wild_trial, frozen, on1, on2, after = (run_trial(spec, arm.name, 0, data) for arm in spec.arms)
    assert wild_trial.diverged
    for trial in (frozen, on1, on2, after):
        assert (trial.status, trial.diverged_step, trial.steps, trial.epochs) == ("finished", 0, 0, ())
        assert "which this one starts from, diverged: the training loss became" in trial.diverged_cause
        assert trial.scores == trial.sites == ()
        assert trial.data_digest == relu.data_digest
    assert frozen.init_digest == relu.init_digest
    assert on1.init_digest == on2.init_digest
    seeds = (0, 1)
    trials = tuple(dataclasses.replace(trial, seed=seed) for seed in seeds for trial in (relu, wild_trial, frozen))
    study = StudyRecord(("relu", "wild", "frozen"), "relu", seeds, 0.5, classification_metrics(10), trials=trials)
    assert "frozen" in render_html(study)
    contrast = analyse(study).primary[1]
    accuracy = 100 * (relu.score("test", "accuracy") or 0.0)
    assert (contrast.arm, contrast.paired) == ("frozen", True)
    assert contrast.difference == pytest.approx(min(10.0, accuracy) - accuracy)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([ON[0]], "arms: 'relu_on' starts from 'relu', which is no arm; there is no other"),
        (["relu", {**FROZEN, "start": {"arm": "rely", "take": "slopes"}}], "which is no arm; did you mean 'relu'?"),
        (
            [{"name": "a", "activation": "relu", "start": {"arm": "a", "take": "weights"}}],
            "arms: the start of 'a' leads back to itself, a <- a: start from another arm",
        ),
        (
            [
                {"name": "x", "activation": "relu", "start": {"arm": "a", "take": "weights"}},
                {"name": "a", "activation": "relu", "start": {"arm": "b", "take": "weights"}},
                {"name": "b", "activation": "relu", "start": {"arm": "a", "take": "weights"}},
            ],
            "arms: the start of 'a' leads back to itself, a <- b <- a",
        ),
        (["relu", {"activation": "relu", "name": "on", "start": {"arm": "relu"}}], "start.take"),
        (["relu", {"activation": "relu", "name": "on", "epochs": 0}], "epochs"),
        (["relu", {"activation": "relu", "name": "on", "epochs": 10**7}], "arms.1.epochs: at most 1,000,000"),
    ],
)
def test_a_start_that_leads_nowhere_is_an_error_of_the_spec(arms: list[object], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        tiny(arms=arms)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("own", [{"start": WEIGHTS}, {"epochs": 3}])
def test_a_training_function_starts_by_itself(own: dict[str, object]) -> None:
    fields = {"arms": ["relu", {"name": "on", "activation": "relu", **own}], "train": {"function": "m:train"}}
    with pytest.raises(SpecError, match=f"arms: {next(iter(own))} of 'on' has no effect with a train.function"):
        parse_spec({**fields, "margin": 1, "metrics": [{"name": "psnr", "better": "higher"}]})


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (
            {"activation": "relu", "start": SLOPES},
            "learns no slopes at 'act1'; start.take = 'weights' does not need them",
        ),
        ({"activation": "prelu_channel", "start": {**WEIGHTS, "take": "slopes"}}, "learns no slopes at 'act1'"),
        ({"activation": "prelu_shared", "start": SLOPES}, "'act1' has 1 of its own, but 4 to take"),
        (
            {"activation": "prelu_shared", "start": {**SLOPES, "take": "weights"}},
            "'act1' has 1 of its own, but 4 to take",
        ),
    ],
)
def test_slopes_that_cannot_be_taken_are_an_error_before_the_first_trial(arm: dict[str, Any], message: str) -> None:
    spec = tiny(arms=["relu", "prelu_channel", {"name": "on", **arm}])
    donor, take = arm["start"]["arm"], arm["start"]["take"]
    with pytest.raises(SpecError, match=re.escape(f"arm 'on' cannot take {take} from '{donor}': ")) as caught:
        preflight(spec)
    assert message in str(caught.value)


def test_an_ordinary_network_continues_from_its_own_activations(user_module: Callable[[str, str], str]) -> None:
    name = user_module(
        "ordinary",
        "from torch import nn\n"
        "def net(num_classes, in_channels):\n"
        "    head = nn.Flatten(), nn.Linear(144, num_classes)\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *head)\n",
    )
    start = {"arm": "as_is", "take": "weights"}
    arms = ["as_is", {"name": "zero", "activation": "prelu_channel_0", "start": start}]
    spec = tiny(arms=arms, model={"name": f"{name}:net"})
    data = preflight(spec).data
    assert isinstance(data, ImageData)
    own, zero = (run_trial(spec, arm, 0, data) for arm in ("as_is", "zero"))
    assert zero.score("validation", "loss", 0) == own.score("validation", "loss")


def test_preparing_counts_the_epochs_of_the_arms_that_others_start_from() -> None:
    start = {"arm": "relu", "take": "weights"}
    arms = ["relu", {"name": "elu_on", "activation": "elu", "start": start, "epochs": 3}]
    spec = {"arms": arms, "seeds": 2, "data": {"train_size": 200}, "train": {"epochs": 5}}
    study = Study(**spec, factors=[{"setting": "train.epochs", "values": [7], "arms": ["relu", "elu_on"], "seeds": 1}])
    assert study.prepare(study.plan()).epochs == 2 * (5 + 5 + 3) + (7 + 7 + 3)
