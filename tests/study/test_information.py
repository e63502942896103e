"""Linear probe and reconstruction from the outputs of layers, against closed forms of NumPy and scikit-learn."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from torch import nn

from slopewise.errors import SpecError
from slopewise.records import TrialRecord
from slopewise.study import StudySpec, parse_spec, run_trial
from slopewise.study._streams import stream
from slopewise.study._trial import make_fabric
from slopewise.study._trial._information import Features, explained, ridge
from slopewise.study._trial._run import Trial
from slopewise.study.data import ImageData, load_data
from slopewise.testing import untimed

INFORMED = {"information": True, "every": 0}


def tiny(**fields: object) -> StudySpec:
    defaults = {"arms": "relu,prelu_channel", "model": {"options": {"width": 4}}, "train": {"epochs": 1}, "seeds": 2}
    return parse_spec({"data": {"train_size": 300}, "monitor": INFORMED, **defaults, **fields})


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(tiny().data)


def values(trial: TrialRecord, measure: str) -> list[float | None]:
    return [score.value for score in trial.layer_scores if score.measure == measure]


@given(
    rows=st.integers(3, 40), features=st.integers(1, 8), targets=st.integers(1, 3),
    scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99),
)  # fmt: skip
def test_ridge_is_that_of_scikit_learn(rows: int, features: int, targets: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = scale * rng.normal(size=(rows, features)) + rng.normal(), rng.normal(size=(rows, targets))
    new = scale * rng.normal(size=(5, features))
    penalty = 1e-3 * np.linalg.eigvalsh((x - x.mean(0)).T @ (x - x.mean(0))).mean()
    expected = Ridge(alpha=penalty, solver="cholesky").fit(x, y).predict(new).reshape(5, targets)
    assert ridge(*map(torch.from_numpy, (x, y, new))).numpy() == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_explained_variance_is_that_of_scikit_learn_and_can_be_negative() -> None:
    rng = np.random.default_rng(0)
    y, predicted = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    weights = y.var(axis=0)
    expected = np.average(r2_score(y, predicted, multioutput="raw_values"), weights=weights)
    assert explained(torch.from_numpy(predicted), torch.from_numpy(y)) == pytest.approx(expected)
    assert expected < 0
    assert explained(torch.ones(3, 2), torch.ones(3, 2)) is None


def test_scores_of_a_trained_network_are_those_computed_by_hand(data: ImageData) -> None:
    spec = tiny()
    trial = Trial(make_fabric(spec.hardware), spec, spec.arm("prelu_channel"), 1, data)
    record = trial.run(None)
    setup, generator = trial.setup, stream(1, "information")
    kept = setup.kept[torch.randperm(len(setup.kept), generator=generator)]
    held_out = setup.held_out[torch.randperm(len(setup.held_out), generator=generator)]
    up_to_act3 = setup.built.model[: [*setup.built.sites].index("act3") * 2 + 3]  # and the pooling before it
    with torch.no_grad():
        x, new = (up_to_act3(data.train_images[part]).flatten(1).double().numpy() for part in (kept, held_out))
    pixels, new_pixels = (data.train_images[part].flatten(1).double().numpy() for part in (kept, held_out))
    labels, new_labels = (data.train_targets[part].numpy() for part in (kept, held_out))
    penalty = 1e-3 * ((x - x.mean(0)) ** 2).sum() / x.shape[1]
    fitted = Ridge(alpha=penalty).fit(x, pixels).predict(new)
    total = ((new_pixels - new_pixels.mean(0)) ** 2).sum()
    classes = Ridge(alpha=penalty).fit(x, np.eye(10)[labels]).predict(new).argmax(1)
    by_hand = {"reconstruction": 1 - ((fitted - new_pixels) ** 2).sum() / total}
    by_hand["linear_probe"] = np.mean(classes == new_labels)
    scores = {score.measure: score.value for score in record.layer_scores if score.layer == "act3"}
    assert scores == pytest.approx(by_hand, rel=1e-5)


def test_no_other_bit_of_a_trial_changes(data: ImageData) -> None:
    for arm in ("rrelu", "prelu_channel"):
        with_, without = (
            run_trial(tiny(arms="rrelu,prelu_channel", monitor={"every": 1, "information": on}), arm, 0, data)
            for on in (True, False)
        )
        assert without.layer_scores == ()
        assert [score.layer for score in with_.layer_scores] == [f"act{k}" for k in range(1, 7) for _ in range(2)]
        assert untimed(dataclasses.replace(with_, layer_scores=())) == untimed(without)


NETS = """
import torch
from torch import nn
class Dead(nn.Module):
    def forward(self, x): return 0 * x
class Shared(nn.Module):
    def __init__(self, activation, num_classes, in_channels):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(in_channels, 8, 1), activation(8), nn.Linear(8 * 64, num_classes)
    def forward(self, x):
        x = self.act(self.conv(x))
        return self.head(self.act(x - x.mean()).flatten(1))
def dead(channels): return Dead()
def first(activation, num_classes, in_channels):
    return nn.Sequential(activation(in_channels), nn.Flatten(), nn.Linear(64, num_classes))
def odd(activation, num_classes, in_channels):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.other, self.head = activation(64), activation(1), nn.Linear(64, num_classes)
        def forward(self, x): return self.head(self.act(self.other(x).flatten(1).reshape(-1, 32)).reshape(len(x), -1))
    return Odd()
"""


def test_an_invertible_output_gives_its_image_back_a_dead_one_nothing(user_module: Callable[[str, str], str]) -> None:
    name = user_module("informed", NETS)
    arms = [
        {"name": "identity", "activation": nn.Identity},
        {"name": "steep", "activation": "leaky_relu", "options": {"negative_slope": 0.5}},
        {"name": "dead", "activation": f"{name}:dead"},
    ]
    spec = tiny(arms=arms, model={"name": f"{name}:first"}, data={"train_size": None}, train={"epochs": 1, "lr": 0.01})
    data = load_data(spec.data)
    trials = {arm.name: run_trial(spec, arm.name, 0, data) for arm in spec.arms}
    assert values(trials["identity"], "reconstruction")[0] > 0.999
    assert values(trials["steep"], "reconstruction")[0] > 0.9
    assert values(trials["identity"], "linear_probe")[0] > 0.9
    assert values(trials["dead"], "reconstruction")[0] <= 0
    assert values(trials["dead"], "linear_probe")[0] == pytest.approx(0.1, abs=0.02)


def test_call_sites_are_named_as_in_the_other_records(user_module: Callable[[str, str], str]) -> None:
    name = user_module("informed_twice", NETS)
    spec = tiny(model={"name": f"{name}:Shared"})
    trial = run_trial(spec, "relu", 0, load_data(spec.data))
    assert {score.layer for score in trial.layer_scores} == {site.layer for site in trial.sites} == {"act", "act (2)"}


def test_outputs_that_are_not_one_an_image_are_left_out(user_module: Callable[[str, str], str]) -> None:
    name = user_module("informed_oddly", NETS)
    spec = tiny(model={"name": f"{name}:odd"})
    trial = run_trial(spec, "relu", 0, load_data(spec.data))
    assert {score.layer for score in trial.layer_scores} == {"other"}


def test_other_tasks_have_no_probe() -> None:
    spec = tiny(task={"kind": "segmentation"}, data={"source": "shapes", "train_size": 40}, margin=1, model={})
    trial = run_trial(spec, "relu", 0, load_data(spec.data, "masks"))
    assert {score.measure for score in trial.layer_scores} == {"reconstruction"}
    assert all(value is not None and value < 1 for value in values(trial, "reconstruction"))


def test_large_outputs_are_projected_alike_in_every_arm_of_a_seed() -> None:
    def features(slope: float, seed: int, size: int) -> torch.Tensor:
        act = nn.LeakyReLU(slope)
        with Features({"act": act}, seed) as seen:
            act(torch.arange(2.0 * size).view(2, 1, size) / size)
        return seen.by_site(2)["act"]

    for size in (512, 513, 9000):
        assert torch.equal(features(0.0, 0, size), features(0.5, 0, size))
        assert features(0.0, 0, size).shape == (2, 512)
    assert not torch.equal(features(0.0, 0, 513), features(0.0, 1, 513))
    x = torch.randn(400, 3000, generator=torch.Generator().manual_seed(0))
    with Features({"act": (act := nn.Identity())}, 0) as seen:
        act(x)
    shrunk = seen.by_site(400)["act"].norm(dim=1) / x.norm(dim=1)
    assert shrunk.mean().item() == pytest.approx(1, abs=0.02)  # a projection keeps lengths on average


def test_a_trial_that_diverges_has_none(data: ImageData) -> None:
    trial = run_trial(tiny(train={"epochs": 1, "lr": 1e30}), "prelu_channel", 0, data)
    assert trial.diverged
    assert trial.layer_scores == ()


def test_a_training_function_has_none() -> None:
    fields = {"train": {"function": "m:train"}, "margin": 1, "metrics": [{"name": "psnr", "better": "higher"}]}
    with pytest.raises(SpecError, match=r"^monitor.information: has no effect with a train.function"):
        parse_spec({"monitor": {"information": True}, **fields})
    assert parse_spec({"monitor": {"every": 1}, **fields}).monitor.every == 1
