"""Models and arms: the same initial weights in every arm, refusals in plain words."""

import re

import pytest
import torch
from torch import nn

from slopewise.errors import ModelError, SpecError
from slopewise.nn import PReLU
from slopewise.study import ArmSpec, ModelSpec
from slopewise.study.arms import ACTIVATIONS, activation_factory
from slopewise.study.models import BuiltModel, build_model, resnet20


def built(arm: str, model: ModelSpec | None = None, seed: int = 0, **options: object) -> BuiltModel:
    factory = activation_factory(ArmSpec(name=arm, activation=arm, options=options))
    return build_model(model or ModelSpec(), factory, num_classes=10, in_channels=1, seed=seed)


@pytest.mark.parametrize(
    ("arm", "at_minus_one"),
    [
        ("relu", 0.0),
        ("leaky_relu", -0.01),
        ("frozen_slope", -0.25),
        ("prelu_shared", -0.25),
        ("prelu_channel", -0.25),
        ("elu", -0.6321205588285577),  # exp(-1) - 1
        ("silu", -0.2689414213699951),  # -1 / (1 + e)
        ("gelu", -0.15865525393145707),  # -(1 - Phi(1))
        ("rrelu", -0.22916666666666666),  # the mean of 1/8 and 1/3, in evaluation
    ],
)
def test_every_registered_arm_is_its_function(arm: str, at_minus_one: float) -> None:
    activation = activation_factory(ArmSpec(name="x", activation=arm))(3).eval()
    outputs = activation(torch.tensor([[-1.0], [1.0]]).expand(2, 3))
    assert outputs[0].tolist() == pytest.approx([at_minus_one] * 3, abs=1e-6)
    assert sum(p.numel() for p in activation.parameters()) == {"prelu_shared": 1, "prelu_channel": 3}.get(arm, 0)


@pytest.mark.parametrize("model", [ModelSpec(), ModelSpec(options={"batch_norm": True}), ModelSpec(name="resnet20")])
def test_all_arms_of_a_seed_share_their_initial_weights(model: ModelSpec) -> None:
    digests = {built(arm, model).init_digest() for arm in ACTIVATIONS}
    assert len(digests) == 1
    assert built("relu", model, seed=1).init_digest() not in digests
    relu, prelu = built("relu", model).model.state_dict(), built("prelu_channel", model).model.state_dict()
    assert relu.keys() <= prelu.keys()
    assert all(torch.equal(tensor, prelu[name]) for name, tensor in relu.items())


def test_an_activation_that_draws_random_numbers_does_not_shift_the_weights() -> None:
    def noisy(channels: int) -> nn.Module:
        module = PReLU(channels)
        nn.init.normal_(module.weight)
        return module

    model = build_model(ModelSpec(), noisy, num_classes=10, in_channels=1, seed=0)
    assert model.init_digest() == built("relu").init_digest()
    again = build_model(ModelSpec(), noisy, num_classes=10, in_channels=1, seed=0)
    assert torch.equal(model.model.state_dict()["act1.weight"], again.model.state_dict()["act1.weight"])
    assert not torch.equal(model.model.state_dict()["act1.weight"], model.model.state_dict()["act2.weight"])


def test_one_activation_under_two_names_is_no_weight() -> None:
    def alias(activation, num_classes, in_channels):  # type: ignore[no-untyped-def]
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        model.first = model.second = activation(10)
        return model

    digests = set()
    for arm in ("relu", "prelu_channel"):
        factory = activation_factory(ArmSpec(name=arm, activation=arm))
        torch.manual_seed(0)
        model = alias(factory, 10, 1)
        digests.add(BuiltModel(model, {"first": model.first}).init_digest())
    assert len(digests) == 1


def test_initial_weights_have_he_variance() -> None:
    weight = built("relu", ModelSpec(options={"width": 64})).model.state_dict()["conv6.weight"]
    fan_in = weight[0].numel()
    assert weight.var().item() == pytest.approx(2 / fan_in, rel=0.02)


def test_resnet20_is_the_papers() -> None:
    model = resnet20(lambda channels: nn.ReLU(), 10, 3)
    assert sum(p.numel() for p in model.parameters()) == 269_722  # 0.27 million, He et al. 2016, table 6
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules()) == 20
    assert sum(isinstance(m, nn.ReLU) for m in model.modules()) == 19
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("depth", "channels", "pools"),
    [
        (1, [16], []),
        (2, [16, 32], [1]),
        (3, [16, 32, 64], [1, 2]),
        (6, [16, 16, 32, 32, 64, 64], [2, 4]),
        (8, [16, 16, 16, 32, 32, 32, 64, 64], [3, 6]),
        (20, [16] * 7 + [32] * 7 + [64] * 6, [7, 14]),
    ],
)
def test_the_depth_of_the_cnn_is_its_number_of_convolutions(depth: int, channels: list[int], pools: list[int]) -> None:
    model = built("relu", ModelSpec(options={"depth": depth})).model
    layers = dict(model.named_children())
    assert [layers[f"conv{k}"].out_channels for k in range(1, depth + 1)] == channels
    assert [name for name, layer in layers.items() if isinstance(layer, nn.MaxPool2d)] == [f"pool{k}" for k in pools]
    assert sum(isinstance(layer, nn.ReLU) for layer in layers.values()) == depth
    assert model(torch.zeros(2, 1, 4, 4)).shape == (2, 10)


def test_six_convolutions_are_the_default() -> None:
    assert built("relu").init_digest() == built("relu", ModelSpec(options={"depth": 6})).init_digest()


@pytest.mark.parametrize("depth", [0, -1, 2.0, True, "6", 1001])
def test_an_impossible_depth_is_refused(depth: object) -> None:
    with pytest.raises(ModelError, match=f"depth must be a whole number from 1 to 1,000, not {depth!r}"):
        built("relu", ModelSpec(options={"depth": depth}))


def test_batch_norm_of_the_cnn_is_switchable() -> None:
    assert not any(isinstance(m, nn.BatchNorm2d) for m in built("relu").model.modules())
    model = built("relu", ModelSpec(options={"batch_norm": True})).model
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 6


BROKEN = """
import torch
def raises(activation, num_classes, in_channels): raise RuntimeError("no such backbone")
def ignores(activation, num_classes, in_channels): return torch.nn.Linear(1, 1)
def no_module(activation, num_classes, in_channels): return activation
not_callable = 3
def bad_activation(channels): return 3
"""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("raises", "model 'broken:raises' (activation, num_classes=10, in_channels=1) raised RuntimeError: no such"),
        ("ignores", "never uses its argument `activation`"),
        ("no_module", "returned function, not a torch.nn.Module"),
    ],
)
def test_a_users_broken_model_is_named(user_module, model: str, message: str) -> None:  # type: ignore[no-untyped-def]
    user_module("broken", BROKEN)
    with pytest.raises(ModelError, match=re.escape(message)):
        built("relu", ModelSpec(name=f"broken:{model}"))


def test_unknown_names_are_refused_with_the_nearest(user_module) -> None:  # type: ignore[no-untyped-def]
    user_module("broken", BROKEN)
    with pytest.raises(SpecError, match="unknown model 'resnet'; did you mean 'resnet20'"):
        built("relu", ModelSpec(name="resnet"))
    with pytest.raises(SpecError, match="unknown arm 'prelu_chanel'; did you mean 'prelu_channel'"):
        built("prelu_chanel")
    with pytest.raises(SpecError, match=r"unknown key 'model.options.batchnorm' .* did you mean 'batch_norm'"):
        built("relu", ModelSpec(options={"batchnorm": True}))
    with pytest.raises(SpecError, match="module 'broken' has no 'absent'"):
        built("broken:absent")
    with pytest.raises(SpecError, match="is a int, not a callable"):
        built("broken:not_callable")
    with pytest.raises(SpecError, match="cannot import module 'no_such_module'"):
        built("no_such_module:x")
    with pytest.raises(ModelError, match="returned int, not a Module"):
        built("broken:bad_activation")
    with pytest.raises(ModelError, match=r"arm 'relu': activation 'relu' for 16 channels raised TypeError"):
        built("relu", slope=0.1)
