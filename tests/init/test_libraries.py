"""Networks that other libraries wrote, converted, wrapped."""

import math

import pytest
import timm
import torch
from monai.networks.nets import DenseNet, UNet
from torch import nn
from transformers import ConvNextConfig, ConvNextModel, MobileNetV2Config, MobileNetV2Model, ResNetConfig, ResNetModel

import slopewise as sw
from slopewise import init


def check(model, example):
    """Every convolution and linear layer was drawn, with the standard deviation that the report says."""
    report = init.kaiming(model, example, generator=torch.Generator().manual_seed(0))
    layers = {name for name, m in model.named_modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))}
    assert {layer.name for layer in report.layers} == layers
    assert not report.left
    for layer in report.layers:
        weight = model.get_submodule(layer.name).weight
        if layer.std[0] == layer.std[1] and weight.numel() > 100:
            measured = weight.square().mean().sqrt().item()
            assert measured == pytest.approx(layer.std[0], rel=5 / math.sqrt(2 * weight.numel()))
    assert str(report).count("\n") > len(layers)
    return report


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_resnet(kind):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[2, 1], layer_type=kind)
    report = check(ResNetModel(config), torch.randn(1, 3, 32, 32))
    assert not report.unknown
    assert all("no effect" in layer.notes[0] for layer in report.layers)


def test_others_with_normalisation():
    small = ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    check(ConvNextModel(small), torch.randn(1, 3, 32, 32))
    small = MobileNetV2Config(depth_multiplier=0.25)
    check(MobileNetV2Model(small), torch.randn(1, 3, 32, 32))
    check(DenseNet(2, 1, 2, init_features=4, growth_rate=4, block_config=(2, 2)), torch.randn(1, 1, 32, 32))
    check(timm.create_model("resnet10t", num_classes=3), torch.randn(1, 3, 64, 64))


def test_unet_without_normalisation():
    """MONAI's, with PReLU inside: outputs keep the scale of the input, by the graph as by the example."""
    model = UNet(2, 1, 64, channels=(32, 64, 128), strides=(2, 2), num_res_units=0, norm=None)
    x = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    report = check(model, x)
    assert model(x)[:, :, 16:-16, 16:-16].square().mean().item() == pytest.approx(1, abs=0.35)
    graph = init.kaiming(model)
    assert [layer.std for layer in graph.layers] == [layer.std for layer in report.layers]
    assert {round(layer.gain[0], 4) for layer in report.layers} == {1.0, round(init.gain(0.25), 4)}


def test_converted_and_wrapped_models():
    relu = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 16, 4))
    x = torch.randn(2, 3, 6, 6)
    converted = sw.convert(relu, x, init=0.5).model
    for model in (converted, torch.compile(converted, backend="eager"), nn.DataParallel(converted)):
        report = init.kaiming(model, x)
        assert [(layer.name, layer.gain[0]) for layer in report.layers] == [
            ("0", pytest.approx(1)),
            ("3", pytest.approx(init.gain(0.5))),
        ]
