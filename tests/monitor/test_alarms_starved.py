"""The alarm `starved-gradient`, in runs that earn it and in networks that look like it."""

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from slopewise.monitor import LayerSample, Sample, Thresholds
from slopewise.recording.alarms import Facts, Judge

from .training import mlp, only, train


def numbers(text):
    return [float(digits) for digits in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?", text)]


def test_a_deep_sigmoid_net_starves():
    model, seen = mlp(nn.Sigmoid, depth=12), []

    def look(step):
        linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        gradient = torch.tensor([math.hypot(*(p.grad.norm() for p in layer.parameters())) for layer in linear])
        weight = torch.tensor([math.hypot(*(p.detach().norm() for p in layer.parameters())) for layer in linear])
        seen.append((gradient / weight).tolist())

    alarm = only(train(model, before=look), "starved-gradient")
    assert (alarm.step, alarm.since) == (3, 1)
    ratios, names = seen[2], [name for name, layer in model.named_children() if isinstance(layer, nn.Linear)]
    starved = [
        count
        for count in range(1, 13)
        if max(ratios[:count]) < 1e-4 * sorted(ratios[count:])[(13 - count) // 2] and (13 - count) % 2
    ]
    below = names.index(alarm.where) + 1
    assert below >= max(starved)
    most, above = numbers(alarm.evidence)
    assert most == pytest.approx(max(ratios[:below]), rel=0.06)
    assert above == pytest.approx(torch.tensor(ratios[below:]).quantile(0.5).item(), rel=0.06)
    assert most < 1e-4 * above


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])
        nn.init.zeros_(self.norms[1].weight)  # the block starts as the identity: no gradient reaches its weights

    def forward(self, x):
        inner = self.first(x)
        inner = self.second(self.norms[0](inner).relu())
        return (x + self.norms[1](inner)).relu()


class Encoder(nn.Module):
    """Tokens, embedded with PyTorch's wide default, and two transformer layers."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(1000, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.layers(self.tokens((x * 100).long() % 1000)).mean(1))


def frozen():
    model = mlp(nn.Tanh, depth=6)
    model[0].requires_grad_(requires_grad=False)
    return model


def new_head():
    model = mlp(nn.Tanh, depth=6)
    nn.init.normal_(model[-1].weight, std=1e-6)
    return model


def zero_head():
    model = mlp(nn.Tanh, depth=6)
    nn.init.zeros_(model[-1].weight)
    return model


@pytest.mark.parametrize(
    "build",
    [
        frozen,
        new_head,
        zero_head,
        Encoder,
        lambda: nn.Sequential(nn.Linear(8, 16), *(Residual(16) for _ in range(6)), nn.Linear(16, 1)),
        lambda: mlp(nn.Tanh, depth=8),
    ],
    ids=["frozen", "new head", "zero head", "transformer", "zero-initialised residual", "deep tanh"],
)
def test_nets_that_do_not_starve(build):
    torch.manual_seed(0)
    assert train(build(), steps=12).alarms == ()


def test_norms_that_are_not_finite_are_no_measure_of_others():
    """Of the layers that are left, the lower ones would starve; the next sample takes up the count."""
    layers = [LayerSample(str(n), gradient, 1.0, None) for n, gradient in enumerate((1e-9, 1.0, 1.0, 1.0))]
    lost = [*layers[:3], replace(layers[3], gradient=None, not_finite=("gradient",)), LayerSample("4", 1.0, 1.0, None)]
    judge = Judge(Thresholds(ignore=("not-finite",)))
    samples = [Sample(step, 1, (), (), tuple(lost if step == 2 else layers)) for step in range(1, 5)]
    assert [len(judge.see(sample, Facts())) for sample in samples] == [0, 0, 0, 1]
