"""Moments behind activations, against scipy's integration."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import nn

from slopewise import init
from slopewise.init import _expectation as expectation

slopes = st.floats(-2, 2)


def expected(function, mean, deviation):
    """E[function(x)] of a normal x, with 0 between pieces."""
    density = stats.norm(mean, deviation).pdf
    pieces = [(mean - 12 * deviation, 0.0), (0.0, mean + 12 * deviation)]
    return sum(integrate.quad(lambda x: function(x) * density(x), *piece, limit=200)[0] for piece in pieces)


def moments(mean, deviation):
    return torch.tensor([[mean], [mean**2 + deviation**2]], dtype=torch.float64)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.7, 1.5), (-1.2, 0.4)])
@pytest.mark.parametrize("a", [0.0, 0.25, -0.5, 1.7])
def test_slopes(mean, deviation, a):
    first, second = expectation.through_slopes(moments(mean, deviation), torch.tensor([a], dtype=torch.float64))
    assert first.item() == pytest.approx(expected(lambda x: x if x > 0 else a * x, mean, deviation), abs=1e-8)
    assert second.item() == pytest.approx(expected(lambda x: (x if x > 0 else a * x) ** 2, mean, deviation), abs=1e-8)
    gradient = expectation.gradient_through_slopes(moments(mean, deviation), torch.tensor([a], dtype=torch.float64))
    assert gradient.item() == pytest.approx(expected(lambda x: 1 if x > 0 else a**2, mean, deviation), abs=1e-8)


@given(slopes)
def test_a_centred_input_gives_the_formula_of_the_paper(a):
    centred, slope = expectation.unit(), torch.tensor([a], dtype=torch.float64)
    assert expectation.through_slopes(centred, slope)[1].item() == pytest.approx((1 + a * a) / 2, rel=1e-12)
    assert expectation.gradient_through_slopes(centred, slope).item() == pytest.approx((1 + a * a) / 2, rel=1e-12)


def test_a_constant_input_is_no_division_by_zero():
    constant = torch.tensor([[2.0, -2.0, 0.0], [4.0, 4.0, 0.0]], dtype=torch.float64)
    through = expectation.through_slopes(constant, torch.tensor([0.5], dtype=torch.float64))
    assert through.tolist() == [[2.0, -1.0, 0.0], [4.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("module", "value", "slope"),
    [
        (
            nn.GELU(),
            lambda x: x * stats.norm.cdf(x),
            lambda x: stats.norm.cdf(x) + x * stats.norm.pdf(x),
        ),
        (nn.Tanh(), math.tanh, lambda x: 1 - math.tanh(x) ** 2),
        (nn.ELU(0.5), lambda x: x if x > 0 else 0.5 * math.expm1(x), lambda x: 1 if x > 0 else 0.5 * math.exp(x)),
    ],
)
def test_curves(module, value, slope):
    for mean, deviation in ((0.0, 1.0), (0.5, 2.0)):
        given = torch.cat([moments(mean, deviation), expectation.unit()], 1)  # two channels that differ
        first, second = expectation.through(given, module)[:, 0]
        assert first.item() == pytest.approx(expected(value, mean, deviation), abs=1e-4)
        assert second.item() == pytest.approx(expected(lambda x: value(x) ** 2, mean, deviation), abs=1e-4)
        gradient = expectation.gradient_through(given, module)[0]
        assert gradient.item() == pytest.approx(expected(lambda x: slope(x) ** 2, mean, deviation), abs=2e-3)


@given(st.lists(slopes, min_size=1, max_size=5))
def test_gain(values):
    mean = sum(a * a for a in values) / len(values)
    assert init.gain(values) == pytest.approx(math.sqrt(2 / (1 + mean)), rel=1e-12)
    assert init.gain(torch.tensor(values, dtype=torch.float64)) == pytest.approx(init.gain(values), rel=1e-12)
    assert init.gain(values[0]) == pytest.approx(nn.init.calculate_gain("leaky_relu", values[0]), rel=1e-12)


def test_fit():
    values = torch.tensor([1.0, 3.0])
    assert expectation.fit(values, 6).tolist() == [1, 1, 1, 3, 3, 3]  # (C, H, W) flattened
    assert expectation.fit(torch.arange(6.0), 2).tolist() == [1, 4]
    assert expectation.fit(values, 3).tolist() == [2]
    assert expectation.fit(values, None) is values
