"""Fusion of pairs, read off small networks, each of which shows one case."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import slopewise as sw

X = torch.randn(4, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def normalised(*between, act=None):
    torch.manual_seed(0)
    bn = nn.BatchNorm2d(5)
    nn.init.normal_(bn.weight)
    nn.init.normal_(bn.bias)
    return nn.Sequential(nn.Conv2d(3, 5, 3), bn, *between, act or nn.ReLU(), nn.Conv2d(5, 2, 1)).double()


class NeededElsewhere(nn.Module):
    def __init__(self, use):
        super().__init__()
        self.layers, self.use = normalised(), use

    def forward(self, x):
        conv, bn, act, last = self.layers
        z = bn(conv(x))
        return self.use(last(act(z)), z)


class Residual(nn.Module):
    def __init__(self, add):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.act, self.add = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), add
        self.double()

    def forward(self, x):
        return self.act(self.add(self.bn(self.conv(x)), x))


def fused(model, **options):
    conversion = sw.convert(model, X, fuse=True, init=0.25, **options)
    return [site.fused for site in conversion.sites], conversion


@pytest.mark.parametrize("between", [nn.Identity(), nn.Dropout(0.0), nn.Dropout2d(0.5), nn.Dropout(0.5)])
def test_layers_that_commute_with_a_prelu_may_stand_between(between):
    model = normalised(between)
    kinds, conversion = fused(model)
    assert kinds == ["BatchNorm"]
    unfused = sw.convert(model, X, init=0.25).model
    for training in (False, True):
        outputs = []
        for network in (unfused, conversion.model):
            torch.manual_seed(1)
            outputs.append(network.train(training)(X))
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-12, atol=1e-12)
    assert conversion.proof.output.relative < 1e-12
    assert conversion.proof.gradient.relative < 1e-12


@pytest.mark.parametrize("between", [nn.Softmax2d(), nn.MaxPool2d(2), nn.AlphaDropout(0.5)])
def test_nothing_else_may(between):
    assert fused(normalised(between))[0] == [""]


@pytest.mark.parametrize(
    "use",
    [
        lambda out, z: (out, z),  # returned
        lambda out, z: out + z.mean(),
        lambda out, z: out * (2 if z.max() > 0 else 1),  # looked at, for a decision
    ],
)
def test_a_value_that_is_needed_elsewhere_keeps_the_pair_apart(use):
    kinds, conversion = fused(NeededElsewhere(use))
    assert kinds == [""]
    assert conversion.proof.output.largest == 0


def test_a_shape_is_no_need():
    assert fused(NeededElsewhere(lambda out, z: out / z.shape[1]))[0] == ["BatchNorm"]


@pytest.mark.parametrize(
    "add",
    [
        lambda z, x: z + x,
        lambda z, x: x + z,
        lambda z, x: torch.add(x, z),
        lambda z, x: z.add_(x),
    ],
)
@pytest.mark.parametrize("low_memory", [False, True])
def test_residuals(add, low_memory):
    kinds, conversion = fused(Residual(add), low_memory=low_memory)
    assert kinds == ["BatchNorm + residual"]
    assert conversion.model.bn.low_memory is low_memory
    assert isinstance(conversion.model, Residual)
    assert conversion.proof.output.relative < 1e-12
    assert conversion.proof.gradient.relative < 1e-10


@pytest.mark.parametrize(
    "add",
    [
        lambda z, x: torch.add(z, x, alpha=2),
        lambda z, x: z + x.mean((2, 3), keepdim=True),  # broadcast
        lambda z, x: z + 1.0,
        lambda z, x: z - x,
    ],
)
def test_other_sums_are_left(add):
    assert fused(Residual(add))[0] == [""]


def test_a_pair_that_was_not_fused_is_listed_with_the_reason():
    model = normalised()
    model[1].register_forward_hook(lambda module, args, output: None)
    kinds, conversion = fused(model)
    assert kinds == [""]
    assert "2: not fused with 1: bn has hooks" in str(conversion)


def test_a_normalisation_used_twice_stays():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn, self.act = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()
            self.double()

        def forward(self, x):
            return self.bn(self.act(self.bn(self.conv(x))))

    kinds, conversion = fused(Tied())
    assert kinds == [""]
    assert "applied elsewhere, too" in str(conversion)
