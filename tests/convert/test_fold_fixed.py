"""Normalisation by fixed numbers in other people's classes: folded by the closed form, or listed with the reason."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise.convert import fold


def numbers(channels):
    """γ, β, μ and σ², as training leaves them."""
    return torch.empty(channels).uniform_(-1.5, 1.5), *torch.randn(2, channels), torch.empty(channels).uniform_(0.5, 2)


def closed_form(y, weight, bias, mean, var, eps=1e-5, dim=1):
    shape = [1] * y.dim()
    shape[dim] = -1
    weight, bias, mean, var = (t.double().view(shape) for t in (weight, bias, mean, var))
    return weight * (y - mean) / (var + eps).sqrt() + bias


class Frozen(nn.Module):
    """Detectron2's way: buffers, and PyTorch's function where no gradient is asked for."""

    def __init__(self, channels, dims=2):
        super().__init__()
        self.dims = dims
        for name, value in zip(("weight", "bias", "running_mean", "running_var"), numbers(channels), strict=True):
            self.register_buffer(name, value)

    def numbers(self):
        return self.weight, self.bias, self.running_mean, self.running_var

    def forward(self, x):
        if x.requires_grad:
            scale = self.weight * (self.running_var + 1e-5).rsqrt()
            bias = self.bias - self.running_mean * scale
            shape = (1, -1, *[1] * self.dims)
            return x * scale.reshape(shape).to(x.dtype) + bias.reshape(shape).to(x.dtype)
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=1e-5)


class WrittenOut(Frozen):
    """As in the paper, and in place."""

    def forward(self, x):
        weight, bias, mean, var = (t.view(-1, *[1] * self.dims) for t in self.numbers())
        return x.sub_(mean).div_((var + 1e-5).sqrt()).mul_(weight).add_(bias)


class OfParameters(nn.Module):
    """Frozen parameters instead of buffers, broadcast by the function that computes a·b + c."""

    def __init__(self, channels, dims=2):
        super().__init__()
        self.shape = (1, channels, *[1] * dims)
        self.weight, self.bias, self.mean, self.var = (nn.Parameter(t, requires_grad=False) for t in numbers(channels))

    def numbers(self):
        return self.weight, self.bias, self.mean, self.var

    def forward(self, x):
        scale = self.weight / torch.sqrt(self.var + 1e-5)
        shift = self.bias - self.mean * scale
        return torch.addcmul(shift.view(self.shape), scale.view(self.shape).expand_as(x), x)


LAYERS = {
    "1-D": (lambda: nn.Conv1d(4, 6, 3, bias=False), 1, (2, 4, 9)),
    "2-D": (lambda: nn.Conv2d(4, 6, 3, groups=2), 2, (2, 4, 5, 6)),
    "3-D": (lambda: nn.Conv3d(4, 6, 2, bias=False), 3, (2, 4, 3, 4, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), 2, (2, 4, 5, 3)),
    "linear": (lambda: nn.Linear(4, 6), 0, (5, 4)),
}


@pytest.mark.parametrize("norm", [Frozen, WrittenOut, OfParameters])
@pytest.mark.parametrize("name", LAYERS)
def test_frozen_normalisation_gives_the_closed_form(name, norm):
    torch.manual_seed(0)
    make, dims, shape = LAYERS[name]
    net = nn.Sequential(make(), norm(6, dims)).double().eval()
    folding = fold(net, torch.randn(shape, dtype=torch.float64))
    assert [(step.kind, step.name, step.became) for step in folding.steps] == [("fold", "1", "part of 0")]
    assert type(folding.model[1]) is nn.Identity
    another = torch.randn(shape, dtype=torch.float64)
    expected = closed_form(net[0](another), *net[1].numbers())
    torch.testing.assert_close(folding.model(another), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_rounded_once(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), WrittenOut(4)).to(dtype).eval()
    new = fold(net, torch.randn(2, 3, 6, 6, dtype=dtype)).model[0]
    weight, _, _, var = (t.double() for t in net[1].numbers())
    assert torch.equal(
        new.weight, (net[0].weight.double() * (weight / (var + 1e-5).sqrt()).view(-1, 1, 1, 1)).to(dtype)
    )


class WithActivation(nn.BatchNorm2d):
    """A subclass that calls the function itself, and then an activation."""

    def __init__(self, channels, act, drop=None):
        super().__init__(channels)
        self.drop, self.act = drop or nn.Identity(), act
        weight, bias, self.running_mean, self.running_var = numbers(channels)
        self.weight.data, self.bias.data = weight, bias

    def forward(self, x):
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps)
        return self.act(self.drop(x))


def test_the_activation_inside_stays_under_its_name():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), WithActivation(4, sw.PReLU(4, init=0.25), nn.Dropout(0.5))).double().eval()
    norm, x = net[1], torch.randn(2, 3, 6, 6, dtype=torch.float64)
    folding = fold(net, x, slopes=False)
    assert [(s.name, s.became) for s in folding.steps] == [("1", "part of 0 + Dropout + PReLU")]
    assert set(folding.model.state_dict()) == {"0.weight", "0.bias", "1.act.weight"}
    another = torch.randn(3, 3, 7, 7, dtype=torch.float64)
    y = closed_form(net[0](another), norm.weight, norm.bias, norm.running_mean, norm.running_var)
    torch.testing.assert_close(folding.model(another), F.leaky_relu(y, 0.25), rtol=1e-11, atol=1e-11)
    settled = fold(net, x)
    assert isinstance(settled.model[1].act, nn.LeakyReLU)


class Scale(nn.Module):
    """LayerScale, and a layer of Caffe: γ and β along the last dimension, or along dimension 1."""

    def __init__(self, channels, shape, value=None):
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(channels) if value is None else torch.full((channels,), value))
        self.beta, self.shape = nn.Parameter(torch.randn(channels)), shape

    def forward(self, x):
        return x * self.gamma.view(self.shape) + self.beta.view(self.shape)


def test_scales_of_tokens_are_folded_into_a_linear_layer():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.1), Scale(6, (-1,))).double().eval()
    folding = fold(net, torch.randn(2, 5, 4, dtype=torch.float64))
    x = torch.randn(3, 7, 4, dtype=torch.float64)
    expected = net[0](x) * net[2].gamma + net[2].beta
    torch.testing.assert_close(folding.model(x), expected, rtol=1e-11, atol=1e-11)
    assert [(s.name, s.became, s.removed) for s in folding.steps] == [("2", "part of 0", 12)]


def test_one_behind_the_other_are_all_folded():
    """Caffe's BatchNorm has statistics alone; the weights are a layer of their own behind it."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, affine=False)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), norm, Scale(4, (1, -1, 1, 1)), Frozen(4), nn.ReLU())
    net.double().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    folding = fold(net, x)
    assert [step.name for step in folding.of("fold")] == ["1", "2", "3"]
    y = closed_form(net[0](x), torch.ones(4), torch.zeros(4), norm.running_mean, norm.running_var)
    y = y * net[2].gamma.view(1, -1, 1, 1) + net[2].beta.view(1, -1, 1, 1)
    torch.testing.assert_close(folding.model(x), closed_form(y, *net[3].numbers()).relu(), rtol=1e-11, atol=1e-11)
    assert all(type(layer) is nn.Identity for layer in folding.model[1:4])


def test_instance_normalisation_with_running_statistics_is_fixed():
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
    weight, bias, norm.running_mean, norm.running_var = numbers(4)
    norm.weight.data, norm.bias.data = weight, bias
    net = nn.Sequential(nn.Conv2d(3, 4, 3), norm).double().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    folding = fold(net, x)
    assert [step.was for step in folding.steps] == ["InstanceNorm2d"]
    expected = closed_form(net[0](x), weight, bias, norm.running_mean, norm.running_var)
    torch.testing.assert_close(folding.model(x), expected, rtol=1e-11, atol=1e-11)


class Of(nn.Module):
    """A module of somebody's, with the numbers of a normalisation, and a forward pass to be given."""

    def __init__(self, forward, channels=4):
        super().__init__()
        for name, value in zip(("weight", "bias", "mean", "var"), numbers(channels), strict=True):
            self.register_buffer(name, value.view(1, -1, 1, 1))
        self.register_buffer("map", torch.rand(1, channels, 5, 5))
        self.kept, self.run = None, forward

    def forward(self, x):
        return self.run(self, x)


def normalised_by_itself(m, x):
    return (x - x.mean((2, 3), keepdim=True)) * m.weight + m.bias


NOT_FIXED = {
    "its own statistics": normalised_by_itself,
    "the batch's": lambda m, x: F.batch_norm(x, None, None, m.weight.flatten(), m.bias.flatten(), training=True),
    "clipped": lambda m, x: (x * m.weight + m.bias).clamp(-50, 50),
    "a gate": lambda m, x: x * m.weight * torch.sigmoid(x),
    "a square": lambda m, x: x * m.weight * x,
    "a quotient": lambda m, x: m.weight / (x * m.bias),
    "a decision": lambda m, x: x * m.weight if x.max() < 1e6 else x * m.bias,
    "each place its own": lambda m, x: x * m.map,
    "noise": lambda m, x: x * m.weight + torch.rand_like(m.bias),
    "mixed": lambda m, x: (x * m.weight).transpose(2, 3) + m.bias,
    "another dtype": lambda m, x: (x * m.weight).float(),
    "rounded on the way": lambda m, x: (x * m.weight).bfloat16().to(x.dtype) + m.bias,
    "a count of its calls": lambda m, x: x * m.weight.add_(1.0) + m.bias,
}


@pytest.mark.parametrize("name", NOT_FIXED)
def test_nothing_is_folded_that_is_not_exactly_fixed(name):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), Of(NOT_FIXED[name])).double().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    folding = fold(net, x)
    assert folding.steps == ()
    assert torch.equal(folding.model[0].weight, net[0].weight)


class Conditioned(nn.Module):
    """A scale that is computed from the input, and left in the layer that applies it."""

    def __init__(self):
        super().__init__()
        self.conv, self.film = nn.Conv2d(3, 4, 1), Of(lambda m, x: x * m.kept)

    def forward(self, x):
        self.film.kept = x.mean((2, 3), keepdim=True)[:, :1] + self.film.weight
        return self.film(self.conv(x))


def test_a_scale_that_comes_from_the_input_is_not_fixed():
    model = Conditioned().eval()
    folding = fold(model, torch.randn(1, 3, 5, 5))
    assert folding.steps == ()
    x = torch.randn(1, 3, 5, 5)
    assert torch.equal(folding.model(x), model(x))


def reasons(net, x):
    return {refusal.name: refusal.reason for refusal in fold(net.eval(), x).skipped}


def test_what_stays_is_listed():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    own = "by its own statistics"
    listed = {
        nn.GroupNorm(2, 4): own,
        nn.InstanceNorm2d(4): "normalises each sample by its own",
        nn.LayerNorm((8, 8)): own,
        nn.RMSNorm(8): own,
        nn.LocalResponseNorm(2): own,
        nn.BatchNorm2d(4, track_running_stats=False): "normalises each batch by its own",
        Of(normalised_by_itself): "by its input's own statistics, with mean, at test_fold_fixed.py:",
        Of(lambda m, x: F.group_norm(x, 2)): "a function normalises, at test_fold_fixed.py:",
        WithActivation(4, nn.Sequential(nn.Conv2d(4, 4, 1))): "more than s·x + t",
    }
    for norm, reason in listed.items():
        assert reason in reasons(nn.Sequential(nn.Conv2d(3, 4, 1), norm), x)["1"]


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (nn.ZeroPad2d(1), "it follows 1, no linear"),
        (nn.MaxPool2d(2), "it follows 1, no linear"),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)), "1 before it is parametrised"),
    ],
)
def test_frozen_normalisation_that_cannot_be_folded_says_why(between, reason):
    assert reason in reasons(nn.Sequential(nn.Conv2d(3, 4, 1), between, Frozen(4)), torch.randn(2, 3, 8, 8))["2"]


def test_hooks_on_what_is_passed_by_are_respected():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5), Frozen(4))
    net[1].register_forward_hook(lambda module, args, output: None)
    assert "hooks of 1" in reasons(net, torch.randn(2, 3, 8, 8))["2"]


class Forked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 1), Frozen(4), nn.Dropout(0.1)

    def forward(self, x):
        y = self.drop(self.conv(x))
        return self.norm(y) + y


def test_a_value_that_something_else_needs_is_left():
    assert "output of conv is needed by add as well" in reasons(Forked(), torch.randn(2, 3, 8, 8))["norm"]


class Preprocessed(nn.Module):
    """Images normalised in the network's own forward pass, and a block that scales its output by itself."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.register_buffer("std", torch.rand(3, 1, 1) + 0.5)
        self.conv, self.gamma = nn.Conv2d(3, 4, 1), nn.Parameter(torch.rand(1, 4, 1, 1))

    def forward(self, x):
        return self.conv((x - self.mean) / self.std) * self.gamma


def test_normalisation_as_a_part_of_a_forward_pass_is_listed():
    folding = fold(Preprocessed(), torch.rand(2, 3, 8, 8))
    (refusal,) = folding.skipped
    assert refusal.name == ""
    assert "scales channels by constants as a part of its forward pass, at test_fold_fixed.py:" in refusal.reason


def test_constants_and_scalars_are_no_normalisation():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gain = nn.Conv2d(3, 4, 1), nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            weight = F.layer_norm(self.conv.weight, (3, 1, 1))
            return F.conv2d(x, weight) * self.gain / 2 + torch.rand(4, 1, 1)

    folding = fold(Plain(), torch.rand(2, 3, 8, 8))
    assert folding.skipped == ()


def test_layers_that_are_not_reached_are_listed():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.frozen_norm = nn.Conv2d(3, 4, 1), type("SpareNorm", (Frozen,), {})(4)

        def forward(self, x):
            return self.conv(x)

    (refusal,) = fold(Spare(), torch.rand(2, 3, 8, 8)).skipped
    assert (refusal.name, refusal.reached) == ("frozen_norm", False)


def test_numbers_may_be_plain_attributes():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.std = torch.rand(4, 1, 1), torch.rand(4, 1, 1) + 0.5  # neither buffers nor parameters

        def forward(self, x):
            return (x - self.mean) / self.std

    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(3, 4, 1), Plain()).eval(), torch.randn(2, 3, 5, 5)
    folding = fold(net, x)
    assert [step.was for step in folding.steps] == ["Plain"]
    y = (net[0](x) - net[1].mean) / net[1].std
    torch.testing.assert_close(folding.model(x), y, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_weight_that_a_hook_makes_anew_is_left():
    net = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 1)), Frozen(4))
    assert "hooks of 0" in reasons(net, torch.randn(2, 3, 5, 5))["1"]
