"""The U-Net and the ESPCN-like upscaler: sizes, arms, weights, and what `build_model` gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from slopewise.errors import ModelError, SpecError
from slopewise.nn import PReLU
from slopewise.study import ModelSpec
from slopewise.study.models import build_model, recipe


def build(name: str, activation: Callable[[int], nn.Module] = PReLU, **given: Any) -> Any:
    options = given.pop("options", {})
    spec = ModelSpec(name=name, options=options)
    return build_model(spec, activation, **{"num_classes": 2, "in_channels": 2, "seed": 0, **given})


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("sizes", [(16, 16), (9, 13), (4, 8, 6), (5, 7, 9)])
def test_a_u_net_returns_images_and_volumes_of_any_size(sizes: tuple[int, ...], norm: str) -> None:
    built = build("unet", dimensions=len(sizes), num_classes=3, options={"norm": norm, "width": 4})
    assert built.model(torch.randn(2, 2, *sizes)).shape == (2, 3, *sizes)
    assert len(built.sites) == 2 * (3 + 2)  # two in each block of three levels down and two up


@pytest.mark.parametrize("upscale", [1, 2, 3])
def test_an_upscaler_enlarges_by_the_factor_of_the_data(upscale: int) -> None:
    built = build("espcn", upscale=upscale, options={"width": 8})
    images = torch.rand(2, 2, 6, 7)
    assert built.model(images).shape == (2, 2, 6 * upscale, 7 * upscale)
    assert len(built.sites) == 3
    if upscale == 1:  # the first output is near the input
        assert (built.model(images) - images).square().mean() < 0.05


@pytest.mark.parametrize(("name", "given"), [("unet", {}), ("unet", {"dimensions": 3}), ("espcn", {"upscale": 2})])
def test_arms_start_from_the_same_weights(name: str, given: dict[str, int]) -> None:
    digests = {build(name, act, **given).init_digest() for act in (PReLU, lambda channels: nn.ReLU())}
    assert len(digests) == 1
    assert digests != {build(name, PReLU, **given, seed=1).init_digest()}


def test_activations_keep_the_scale_of_what_flows_through_a_u_net() -> None:
    model = build("unet", lambda channels: nn.ReLU(), options={"norm": "none", "width": 32, "levels": 4}).model
    output = model(torch.randn(4, 2, 64, 64))
    assert 0.2 < output.std().item() < 5


@pytest.mark.parametrize(
    ("name", "options", "given", "words"),
    [
        ("unet", {"norm": "layer"}, {}, "norm must be one of batch, instance, none, not 'layer'"),
        ("unet", {"levels": 0}, {}, "levels must be a whole number from 1 on, not 0"),
        ("espcn", {}, {"num_classes": 1}, "skip adds the input of 2 channels to an output of 1: set skip = false"),
        ("espcn", {"width": 0}, {}, "width must be a whole number from 1 on, not 0"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], given: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build(name, options=options, **given)


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"unknown key 'model.options.level' of model 'unet'; did you mean 'levels'"):
        recipe(ModelSpec(name="unet", options={"level": 2}))


def test_a_users_builder_gets_the_shapes_that_it_requires(user_module: Callable[[str, str], str]) -> None:
    user_module(
        "usernets",
        "from torch import nn\n"
        "def ours(activation, num_classes, in_channels, upscale):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, num_classes * upscale ** 2, 1), activation(9), "
        "nn.PixelShuffle(upscale))\n"
        "def ordinary(num_classes, in_channels, dimensions, upscale=7):\n"
        "    assert (dimensions, upscale) == (2, 7)\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, num_classes, 1), nn.ReLU())\n",
    )
    built = build("usernets:ours", num_classes=1, upscale=3)
    assert built.model(torch.zeros(1, 2, 4, 4)).shape == (1, 1, 12, 12)
    build("usernets:ordinary", upscale=3, example=torch.zeros(2, 2, 4, 4))
