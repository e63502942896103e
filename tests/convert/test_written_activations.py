"""Expressions that write an activation out, in a user's file."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import slopewise as sw
from slopewise.errors import ConversionError

X = 3 * torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0))

NET = """
import math
import torch
import torch.nn.functional as F
from torch import nn

def helper(x):
    return {expression}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.slope = nn.Conv1d(3, 4, 1), nn.Conv1d(4, 2, 1), 0.1

    def forward(self, given):
        x = self.a(given)
        {statements}
        return self.b(x)
"""
EXPRESSIONS = {
    "silu": ["x * torch.sigmoid(x)", "x.mul(x.sigmoid())", "torch.sigmoid(x) * x", "x / (1 + torch.exp(-x))"],
    "scaled_silu": ["x * torch.sigmoid(1.702 * x)"],
    "mish": ["x * torch.tanh(F.softplus(x))", "x * F.softplus(x).tanh()"],
    "gelu": [
        "0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))",
        "x * 0.5 * (1.0 + torch.erf(x / 1.41421))",
        "0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))",
    ],
    "hardswish": ["x * F.relu6(x + 3) / 6", "x * F.hardtanh(x + 3, 0.0, 6.0) * (1 / 6)", "x * F.hardsigmoid(x)"],
    "elu": ["torch.where(x > 0, x, torch.exp(x) - 1)"],
    "relu": [
        "x.clamp(min=0)",
        "torch.clamp_min(x, 0)",
        "torch.maximum(x, torch.zeros_like(x))",
        "torch.max(torch.tensor(0.0), x)",
        "torch.where(0 < x, x, 0.0)",
        "x * (x > 0)",
        "(x > 0).float() * x",
        "(x + x.abs()) / 2",
        "x.masked_fill(x < 0, 0.0)",
        "F.threshold(x, 0, 0)",
        "torch.ops.aten.relu(x)",
    ],
    "relu6": ["F.hardtanh(x, 0, 6)", "x.clamp(0, 6)"],
    "leaky_relu": ["F.relu(x) - 0.2 * F.relu(-x)", "torch.max(x, 0.2 * x)", "torch.where(x >= 0, x, 0.2 * x)"],
}
WRITTEN = [(kind, expression) for kind, expressions in EXPRESSIONS.items() for expression in expressions]


@pytest.fixture
def net_of(user_module):
    """A network from its text, as a user's file holds it."""

    def build(statements, expression="x"):
        text = NET.format(statements=statements, expression=expression)
        module = __import__(user_module("written_net", text))
        return module.Net()

    return build


def with_leaky(net, slope, x):
    """An independent reference: the network with a leaky ReLU between its layers."""
    return net.b(F.leaky_relu(net.a(x), slope))


@pytest.mark.parametrize(("kind", "expression"), WRITTEN)
def test_an_expression_that_writes_an_activation_out_is_one_site(net_of, kind, expression):
    net = net_of(f"x = {expression}")
    before = net(X)
    conversion = sw.convert(net, X, init=0.3)
    (site,) = conversion.sites
    assert (site.name, site.kind, site.slopes) == (f"{kind}_1", kind, 4)
    assert "written_net.py:" in site.source
    assert not conversion.skipped
    assert conversion.proof.output.relative < 1e-5
    slope = 0.2 if kind == "leaky_relu" else 0.3
    torch.testing.assert_close(conversion.model(X), with_leaky(net, slope, X), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(net(X), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    "statements",
    [
        "x = F.relu(x); x = x / (x.abs().amax(1, keepdim=True) + 1e-6)",
        "x = F.relu(x) / (1e-6 + abs(x).mean())",
        "x = torch.sign(x) * torch.sqrt(torch.abs(x) + 1e-6) + F.relu(x)",
    ],
)
def test_the_size_of_a_number_is_no_activation(net_of, statements):
    """abs has the values of a leaky ReLU with slope -1, and normalisations are written with it."""
    conversion = sw.convert(net_of(statements), X)
    assert [site.kind for site in conversion.sites] == ["relu"]


@pytest.mark.parametrize(
    ("kind", "statements"),
    [
        ("silu", "x *= torch.sigmoid(x)"),
        ("silu", "x = x.mul_(x.sigmoid())"),
        ("silu", "gate = torch.sigmoid(x); x = x * gate"),
        ("relu", "x.clamp_(min=0)"),
        ("relu", "x = (x + abs(x)) * 0.5"),
    ],
)
def test_statements_and_in_place_ones(net_of, kind, statements):
    net = net_of(statements)
    conversion = sw.convert(net, X, init=0.3)
    assert [site.kind for site in conversion.sites] == [kind]
    assert conversion.proof.output.relative < 1e-6
    torch.testing.assert_close(conversion.model(X), with_leaky(net, 0.3, X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("expression", ["x * torch.sigmoid(x)", "0.5 * x * (1 + torch.erf(x / math.sqrt(2)))", "2 - x"])
def test_in_a_helper_function_and_in_a_loop_by_the_graph(net_of, expression):
    net = net_of("x = helper(helper(x)) if True else x", expression)
    if expression == "2 - x":
        with pytest.raises(ConversionError, match="None is applied"):
            sw.convert(net, X)
        return
    conversion = sw.convert(net, X, init=0.3)
    assert len(conversion.sites) == 2
    assert "by its graph" in conversion.rewritten[""]
    assert conversion.proof.output.relative < 1e-6
    expected = net.b(F.leaky_relu(F.leaky_relu(net.a(X), 0.3), 0.3))
    torch.testing.assert_close(conversion.model(X), expected, rtol=1e-6, atol=1e-6)


def test_several_in_one_line_each_have_their_own(net_of):
    net = net_of("x = F.relu(x * torch.sigmoid(x)) - x.clamp(min=0)")
    conversion = sw.convert(net, X, init=0.3)
    assert [site.kind for site in conversion.sites] == ["silu", "relu", "relu"]
    x = net.a(X)
    expected = net.b(F.leaky_relu(F.leaky_relu(x, 0.3), 0.3) - F.leaky_relu(x, 0.3))
    torch.testing.assert_close(conversion.model(X), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("statements", "listed"),
    [
        ("x[x < 0] = 0", "relu_1"),  # no expression to replace
        ("return x.clamp(min=0)", "relu_1"),  # a limit of the result
        ("s = torch.sigmoid(x); x = x * s + s", "sigmoid_1"),  # the gate is used once more
        ("x = torch.tanh(x)", "tanh_1"),
        ("x = torch.sin(x)", "sin_1"),
        ("x = F.prelu(x, self.b.weight[0, 0, :1])", "prelu_1"),
        ("x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-6)", None),
        ("x = x[:, :, x.argmax(2)[0].clamp(min=0)]", None),
        ("x = torch.where(x > 0, x, 2 * x + 1)", None),
        ("x = 2 * (x + 1) - 3", None),
    ],
)
def test_expressions_that_are_no_activation_or_cannot_be_replaced_stay(net_of, statements, listed):
    with pytest.raises(ConversionError) as raised:
        sw.convert(net_of(statements), X)
    assert (f"Left as they are: {listed}:" if listed else "None is applied") in str(raised.value)
