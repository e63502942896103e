"""Parameter groups of networks, and in optimizers, that other libraries wrote."""

import pytest
import timm
import timm.optim
import torch
from torch import nn
from transformers import ConvNextConfig, ConvNextModel, LlamaConfig, LlamaModel

import slopewise as sw


def prelu(*, inplace=False):
    """As timm and others call an activation."""
    return sw.PReLU()


def check(model, norms, slopes):
    """Norms and biases, counted by class and attribute, are together; slopes are the PReLUs; all else is a weight."""
    weights, others, slope_group = sw.param_groups(model, lr=0.1, weight_decay=0.1)
    expected = {id(p) for m in model.modules() if type(m).__name__ in norms for p in m.parameters(recurse=False)}
    expected |= {id(m.bias) for m in model.modules() if isinstance(getattr(m, "bias", None), nn.Parameter)}
    assert expected
    assert {id(p) for p in others["params"]} == expected
    assert {id(p) for p in slope_group["params"]} == {id(m.weight) for m in model.modules() if isinstance(m, nn.PReLU)}
    assert len(slope_group["params"]) == slopes
    assert sum(len(group["params"]) for group in (weights, others, slope_group)) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("name", "norms", "slopes"),
    [
        ("resnet18", {"BatchNorm2d"}, 17),
        ("efficientnet_lite0", {"BatchNormAct2d"}, 33),  # an activation inside each norm
        ("convnext_atto", {"LayerNorm2d", "LayerNorm"}, 12),
    ],
)
def test_timm(name, norms, slopes):
    with torch.device("meta"):
        model = timm.create_model(name, act_layer=prelu)
    check(model, norms, slopes)


def test_transformers():
    small = ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    check(ConvNextModel(small), {"ConvNextLayerNorm", "LayerNorm"}, 0)
    small = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=8)
    assert len(sw.param_groups(LlamaModel(small), lr=0.1)[1]["params"]) == 3


@pytest.mark.parametrize("name", ["Lion", "NAdamW", "Lamb", "Adafactor", "SGDP"])
def test_optimizers_of_timm(name):
    model = nn.Sequential(nn.Linear(3, 4), sw.PReLU(4))
    groups = sw.param_groups(model, lr=0.01, weight_decay=0.1)
    optimizer = getattr(timm.optim, name)(groups, lr=0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01] * 3
    model(torch.randn(5, 3)).square().sum().backward()
    before = model[1].weight.detach().clone()
    optimizer.step()
    assert not torch.equal(model[1].weight, before)
