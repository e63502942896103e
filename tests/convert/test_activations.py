"""Activations recognised by the function they compute: subclasses, modules of others, and scripts."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw

X = 3 * torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0))


class LeakyByFunction(nn.Module):
    def forward(self, x):
        return F.leaky_relu(x, 0.2)


class LeakyByMaximum(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha = 0.2

    def forward(self, x):
        return torch.maximum(x, self.alpha * x)


class LeakyInPercent(nn.Module):
    """Its attribute has PyTorch's name, and means something else."""

    def __init__(self):
        super().__init__()
        self.negative_slope = 20

    def forward(self, x):
        return F.leaky_relu(x, self.negative_slope / 100)


class LeakyTwice(nn.LeakyReLU):
    def forward(self, x):
        return F.leaky_relu(x, 2 * self.negative_slope)


LEAKY = {
    "by function": LeakyByFunction,
    "by maximum": LeakyByMaximum,
    "in percent": LeakyInPercent,
    "subclass": lambda: LeakyTwice(0.1),
    "script": lambda: torch.jit.script(LeakyByFunction()),
    "script of PyTorch's": lambda: torch.jit.script(nn.LeakyReLU(0.2)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("build", LEAKY.values(), ids=LEAKY)
def test_a_leaky_relu_of_any_class_keeps_the_slope_that_it_computes(build):
    """The slope is measured, not taken from an attribute."""
    act = build()
    net = nn.Sequential(nn.Conv1d(3, 4, 1), act, nn.Conv1d(4, 2, 1))
    conversion = sw.convert(net, X)
    assert [(site.name, site.kind, site.slopes) for site in conversion.sites] == [("1", "leaky_relu", 4)]
    assert conversion.model[1].weight.tolist() == pytest.approx([0.2] * 4)
    assert (conversion.proof.exact, conversion.proof.others) == (1, 0)
    assert conversion.proof.output.relative < 1e-6
    torch.testing.assert_close(conversion.model(X), net[2](F.leaky_relu(net[0](X), 0.2)), rtol=1e-6, atol=1e-6)


class TimmPReLU(nn.PReLU):
    """As timm has it."""

    def __init__(self, num_parameters=1, init=0.3, inplace=False):
        super().__init__(num_parameters, init)

    def forward(self, input):  # noqa: A002
        return F.prelu(input, self.weight)


class MonotonePReLU(nn.PReLU):
    def forward(self, input):  # noqa: A002
        return F.prelu(input, self.weight.abs())


class Sub(nn.ReLU):
    pass


class Doubled(nn.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


class Liar(nn.ReLU):
    def forward(self, x):
        return torch.tanh(x)


class Swish(nn.Module):
    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, x):
        return x.mul_(x.sigmoid()) if self.inplace else x.mul(x.sigmoid())


class SwishFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return gradient * s * (1 + x * (1 - s))


class MemoryEfficientSwish(nn.Module):
    def forward(self, x):
        return SwishFunction.apply(x)


class LearnedSwish(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)


class WrittenPReLU(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.full((4, 1), 0.25))

    def forward(self, x):
        return F.relu(x) - self.alpha * F.relu(-x)


class Bump(nn.Module):
    def forward(self, x):
        return torch.exp(-x * x)


def between(act):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 4, 1), act, nn.Conv1d(4, 4, 1), nn.ReLU(), nn.Conv1d(4, 2, 1))


@pytest.mark.parametrize(
    ("act", "kind", "slope"),
    [
        (TimmPReLU(), "prelu", 0.3),
        (TimmPReLU(4, inplace=True), "prelu", 0.3),
        (Sub(), "relu", 0.1),
        (Sub(inplace=True), "relu", 0.1),
        (Swish(), "silu", 0.1),
        (Swish(inplace=True), "silu", 0.1),
        (MemoryEfficientSwish(), "silu", 0.1),
        (nn.Hardtanh(0, 6), "relu6", 0.1),
        (nn.Hardtanh(0, 20), "clipped_relu", 0.1),
        (nn.Threshold(0, 0), "relu", 0.1),
    ],
)
def test_modules_of_any_class_are_recognised_by_the_function_they_compute(act, kind, slope):
    net = between(act)
    conversion = sw.convert(net, X, init=0.1)
    assert [(site.name, site.kind) for site in conversion.sites] == [("1", kind), ("3", "relu")]
    assert not conversion.rewritten
    assert conversion.proof.output.relative < 1e-6
    assert conversion.proof.gradient.relative < 1e-6
    expected = net[4](F.leaky_relu(net[2](F.leaky_relu(net[0](X), slope)), 0.1))
    torch.testing.assert_close(conversion.model(X), expected, rtol=1e-6, atol=1e-6)


def test_slopes_of_a_subclass_of_prelu_follow_its_checkpoint():
    net = between(TimmPReLU(4))
    conversion = sw.convert(net, X)
    state = copy.deepcopy(net.state_dict())
    state["1.weight"] = torch.tensor([0.0, -0.5, 0.25, 2.0])
    conversion.load_state_dict(state)
    assert conversion.model[1].weight.tolist() == [0.0, -0.5, 0.25, 2.0]


def test_a_subclass_that_does_something_besides_keeps_it():
    net = between(Doubled())
    conversion = sw.convert(net, X, init=0.1)
    assert [site.name for site in conversion.sites] == ["1.relu_1", "3"]
    expected = net[4](F.leaky_relu(net[2](2 * F.leaky_relu(net[0](X), 0.1)), 0.1))
    torch.testing.assert_close(conversion.model(X), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("act", "name", "reason"),
    [
        (Liar(), "1", "it is bounded"),
        (nn.Softplus(), "1", "its outputs are positive"),
        (MonotonePReLU(), "1.prelu_1", "MonotonePReLU hands to it"),
        (LearnedSwish(), "1.silu_1", "tensors of its own"),
        (WrittenPReLU(), "1.leaky_relu_1", "tensors of its own"),
        (Bump(), "1", "none of the known ones"),
    ],
)
def test_activations_that_stay_are_listed_with_a_warning(act, name, reason):
    with pytest.warns(sw.ConversionWarning, match=f"1 activations stay as they are, such as {name}"):
        conversion = sw.convert(between(act), X)
    assert [site.name for site in conversion.sites] == ["3"]
    (refusal,) = conversion.skipped
    assert refusal.name == name
    assert reason in refusal.reason


def test_another_kind_is_converted_when_it_is_named():
    conversion = sw.convert(between(nn.Tanh()), X, only=["tanh", "relu"])
    assert [site.kind for site in conversion.sites] == ["tanh", "relu"]
    assert conversion.proof.output.relative < 1e-6


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripts():
    swish = torch.jit.script(Swish())
    net = between(swish)
    conversion = sw.convert(net, X, init=0.1)
    assert [(site.name, site.kind) for site in conversion.sites] == [("1", "silu"), ("3", "relu")]
    expected = net[4](F.leaky_relu(net[2](F.leaky_relu(net[0](X), 0.1)), 0.1))
    torch.testing.assert_close(conversion.model(X), expected, rtol=1e-6, atol=1e-6)
    opaque = between(torch.jit.script(nn.Sequential(nn.Conv1d(4, 4, 1), nn.ReLU())))
    with pytest.warns(sw.ConversionWarning, match=r"such as 1 \(script\): it is a script"):
        assert len(sw.convert(opaque, X).sites) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_function_hides_nothing():
    scripted = torch.jit.script(swish_of)

    class Scripted(nn.Module):
        def forward(self, x):
            return scripted(x)

    conversion = sw.convert(between(Scripted()), X, init=0.1)
    assert [(site.name, site.kind) for site in conversion.sites] == [("1", "silu"), ("3", "relu")]
    assert conversion.proof.output.relative < 1e-6


def swish_of(x: torch.Tensor) -> torch.Tensor:
    return x.mul(x.sigmoid())
