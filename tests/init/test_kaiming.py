"""Gains of layers behind each kind of activation, against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from torch import nn

import slopewise as sw
from slopewise import init

from .reports import gains, stds


@settings(max_examples=30)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=6), st.sampled_from(["fan_in", "fan_out"]))
def test_slopes_per_channel_are_summed_over_the_fan(slopes, mode):
    """Var[w] k² Σ_c ½(1 + a_c²) = 1, over the channels in front of a layer, or behind it."""
    count = len(slopes)
    model = nn.Sequential(nn.Conv2d(3, count, 3), sw.PReLU(count, slopes), nn.Conv2d(count, 5, 3))
    report = init.kaiming(model, mode=mode)
    total = 9 * sum((1 + a * a) / 2 for a in slopes)
    assert stds(report)["2" if mode == "fan_in" else "0"] == pytest.approx((total**-0.5, total**-0.5), rel=1e-6)
    assert stds(report)["0" if mode == "fan_in" else "2"] == pytest.approx(
        [(9 * (3 if mode == "fan_in" else 5)) ** -0.5] * 2
    )


class OneOf(nn.Module):
    """A linear layer behind one activation, however it is written."""

    def __init__(self, act):
        super().__init__()
        self.act, self.head = act, nn.Linear(8, 8)
        self.q = nn.Parameter(torch.linspace(-1, 1, 8))

    def forward(self, x):
        return self.head(self.act(self, x) if not isinstance(self.act, nn.Module) else self.act(x))


def beyond_bounds():
    layer = sw.PReLU(8, bounds=(0.0, 1.0))
    layer.weight.data.fill_(3.0)
    return layer


@pytest.mark.parametrize("example", [None, torch.zeros(2, 8)], ids=["graph", "example"])
@pytest.mark.parametrize(
    ("act", "square"),
    [
        (nn.Identity(), 1.0),
        (nn.ReLU(), 0.0),
        (nn.ReLU(inplace=True), 0.0),
        (nn.LeakyReLU(0.5), 0.25),
        (nn.PReLU(init=-0.5), 0.25),
        (sw.PReLU(8, [0, 0, 0, 0, 1, 1, 1, 1]), 0.5),
        (sw.PReLU(8, 0.5, channel_dim=-1), 0.25),
        (beyond_bounds(), 1.0),
        (sw.BatchNormPReLU1d(8, init=0.5), 0.25),
        (sw.BatchNormPReLU1d(8, init=1.0, learnable=False), 1.0),
        (nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout()), 0.0),
        (nn.Sequential(nn.ReLU(), nn.LayerNorm(8)), 1.0),
        (nn.RReLU(0.25, 0.75), 0.25),  # as in evaluation mode
        (lambda self, x: x.relu_(), 0.0),
        (lambda self, x: torch.relu(x), 0.0),
        (lambda self, x: F.leaky_relu(x, 0.5), 0.25),
        (lambda self, x: F.leaky_relu(x, negative_slope=0.5), 0.25),
        (lambda self, x: F.prelu(x, self.q), (1 + 25 / 49 + 9 / 49 + 1 / 49) / 4),
        (lambda self, x: sw.functional.prelu(x, self.q), (1 + 25 / 49 + 9 / 49 + 1 / 49) / 4),
        (lambda self, x: F.relu(x)[:, None].transpose(1, 2).flatten(1), 0.0),
    ],
)
def test_activations_however_they_are_written(act, square, example):
    report = init.kaiming(OneOf(act), example)
    assert report.layers[0].gain[0] == pytest.approx(math.sqrt(2 / (1 + square)), rel=1e-5)
    assert not report.unknown


def test_compiled_operators_are_seen_as_what_they_are():
    class Large(OneOf):
        def forward(self, x):
            return self.head(sw.functional.prelu(x, self.q))

    report = init.kaiming(Large(None), torch.randn(4000, 8))
    assert report.layers[0].gain[0] == pytest.approx(init.gain(torch.linspace(-1, 1, 8)), rel=1e-6)
    assert not report.unknown


@pytest.mark.parametrize("example", [None, torch.zeros(2, 8)], ids=["graph", "example"])
def test_other_activations_by_their_own_second_moment(example):
    def silu(x):
        return x * special.expit(x)

    second = stats.norm.expect(lambda x: silu(x) ** 2)
    report = init.kaiming(OneOf(nn.SiLU()), example)
    assert report.layers[0].gain[0] == pytest.approx(second**-0.5, rel=1e-4)
    report = init.kaiming(OneOf(lambda self, x: 2 * torch.sigmoid(x)), example)
    second = stats.norm.expect(lambda x: 4 * special.expit(x) ** 2)
    assert report.layers[0].gain[0] == pytest.approx(second**-0.5, rel=1e-4)


def test_an_operation_that_is_unknown_is_named():
    report = init.kaiming(OneOf(lambda self, x: F.softmax(x, 1)))
    assert gains(report) == {"head": 1.0}
    assert report.unknown == ("softmax() in the model",)
    assert "taken to give second moment 1:\n  softmax() in the model" in str(report)
