"""Conversions of library networks are compared in time: they must be what their names say, with the same weights."""

import importlib
import sys
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

import slopewise.nn as swnn
from slopewise.bench import CONVERTED, FUSED, FUSED_LOW_MEMORY, PRELU, RELU, UNFUSED
from slopewise.bench._converted import _without_torchvision_of_another_torch, images_and_labels, variants
from slopewise.bench._networks import training_step

WIDTH = 8  # channels of the first stage
SITES = 17  # of a ResNet-18: one after the first convolution, two in each of eight blocks
FORMATS = {
    "contiguous": {4: torch.contiguous_format, 5: torch.contiguous_format},
    "channels_last": {4: torch.channels_last, 5: torch.channels_last_3d},
}


@cache
def made(name, layout="contiguous"):
    network = CONVERTED[name]
    network = replace(network, image=(network.image[0], *(size // 2 for size in network.image[1:])))
    images, labels, memory_format = images_and_labels(network, layout, 2)
    return images, labels, variants(network, images, memory_format, WIDTH)


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


@pytest.mark.parametrize("name", CONVERTED)
def test_each_variant_is_what_its_name_says(name):
    _, _, models = made(name)
    assert list(models) == [RELU, PRELU, UNFUSED, FUSED, FUSED_LOW_MEMORY]
    fused = swnn.BatchNormPReLU2d if name.startswith("transformers") else swnn.BatchNormPReLU3d
    assert [count(model, fused) for model in models.values()] == [0, 0, 0, SITES, SITES]
    assert [count(models[variant], nn.ReLU) for variant in (PRELU, UNFUSED, FUSED, FUSED_LOW_MEMORY)] == [0] * 4
    assert count(models[RELU], nn.ReLU) > 0
    stock = [module for module in models[PRELU].modules() if type(module) is nn.PReLU]
    assert [m.num_parameters for m in stock] == [WIDTH] * 5 + [2 * WIDTH] * 4 + [4 * WIDTH] * 4 + [8 * WIDTH] * 4
    assert count(models[UNFUSED], swnn.PReLU) == SITES
    low = [m.low_memory for m in models[FUSED_LOW_MEMORY].modules() if isinstance(m, fused)]
    assert low == [None] * SITES  # the default of fuse=True: where it costs no time
    assert not any(m.low_memory for m in models[FUSED].modules() if isinstance(m, fused))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", CONVERTED)
def test_variants_have_the_same_weights_in_the_layout_and_train(name, layout):
    images, labels, models = made(name, layout)
    expected = FORMATS[layout][images.ndim]
    assert images.is_contiguous(memory_format=expected)
    convolutions = [m for m in models[RELU].modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))]
    for model in models.values():
        assert model.training
        theirs = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))]
        for a, b in zip(convolutions, theirs, strict=True):
            assert torch.equal(a.weight, b.weight)
            assert b.weight.is_contiguous(memory_format=expected)
    for model in models.values():
        training_step(model, CONVERTED[name].loss)(images, labels)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_torchvision_that_fails_is_missing_for_a_while(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    with _without_torchvision_of_another_torch(), pytest.raises(ModuleNotFoundError):
        importlib.import_module("torchvision")
    with pytest.raises(RuntimeError, match="nms"):
        importlib.import_module("torchvision")
