"""Batch normalisation folded into the layer before it: exact by the closed form, and only where that holds."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise.convert import fold


def settled(norm):
    """Statistics and weights as after training, drawn at random."""
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    if norm.affine:
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.normal_(norm.bias)
    return norm


def closed_form(y, norm):
    """Normalisation of dimension 1, as it is written in the paper."""
    one = torch.ones_like(norm.running_mean)
    shape = (1, -1, *[1] * (y.dim() - 2))
    gamma, beta = (norm.weight, norm.bias) if norm.affine else (one, 0 * one)
    scaled = (y - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return gamma.view(shape) * scaled + beta.view(shape)


LAYERS = {
    "linear": (lambda b: nn.Linear(4, 6, bias=b), nn.BatchNorm1d, (5, 4)),
    "conv1d": (lambda b: nn.Conv1d(4, 6, 3, stride=2, bias=b), nn.BatchNorm1d, (2, 4, 9)),
    "conv2d": (lambda b: nn.Conv2d(4, 6, 3, groups=2, padding=1, bias=b), nn.BatchNorm2d, (2, 4, 5, 6)),
    "reflect": (lambda b: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", bias=b), nn.BatchNorm2d, (2, 4, 5, 6)),
    "depthwise": (lambda b: nn.Conv2d(6, 6, 3, groups=6, dilation=2, bias=b), nn.BatchNorm2d, (2, 6, 7, 7)),
    "conv3d": (lambda b: nn.Conv3d(4, 6, 2, bias=b), nn.BatchNorm3d, (2, 4, 3, 4, 5)),
    "transposed1d": (lambda b: nn.ConvTranspose1d(4, 6, 3, stride=2, bias=b), nn.BatchNorm1d, (2, 4, 5)),
    "transposed2d": (lambda b: nn.ConvTranspose2d(4, 6, (2, 3), bias=b), nn.BatchNorm2d, (2, 4, 5, 3)),
    "transposed, groups": (lambda b: nn.ConvTranspose2d(4, 6, 3, groups=2, bias=b), nn.BatchNorm2d, (2, 4, 5, 3)),
    "transposed3d": (lambda b: nn.ConvTranspose3d(4, 6, 2, groups=2, bias=b), nn.BatchNorm3d, (2, 4, 2, 3, 4)),
    "synchronised": (lambda b: nn.Conv2d(4, 6, 3, bias=b), nn.SyncBatchNorm, (2, 4, 5, 6)),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_the_layer_alone_gives_the_closed_form(name, affine, bias):
    torch.manual_seed(0)
    layer, norm, shape = LAYERS[name]
    net = nn.Sequential(layer(bias), settled(norm(6, affine=affine, eps=1e-3))).double().eval()
    x = torch.randn(shape, dtype=torch.float64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    folding = fold(net, x)
    assert type(folding.model[1]) is nn.Identity
    assert type(folding.model[0]) is type(net[0])
    assert [step.kind for step in folding.steps] == ["fold"]
    another = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(folding.model(another), closed_form(net[0](another), net[1]), rtol=1e-11, atol=1e-11)
    assert folding.removed == 12 * affine - 6 * (not bias)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert type(net[1]) is norm


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_rounded_once(dtype, mixed):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), settled(nn.BatchNorm2d(4))).to(dtype).eval()
    if mixed:
        net[1].float()  # as mixed-precision training leaves it
    new = fold(net, torch.randn(2, 3, 6, 6, dtype=dtype)).model[0]
    scale = net[1].weight.double() / (net[1].running_var.double() + net[1].eps).sqrt()
    exact = net[0].weight.double() * scale.view(-1, 1, 1, 1)
    assert new.weight.dtype == new.bias.dtype == dtype
    assert torch.equal(new.weight, exact.to(dtype))


def test_memory_format_and_requires_grad_are_kept():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), settled(nn.BatchNorm2d(4))).to(memory_format=torch.channels_last)
    net[0].weight.requires_grad = False
    folding = fold(net, torch.randn(2, 3, 6, 6).to(memory_format=torch.channels_last))
    new = folding.model[0]
    assert new.weight.is_contiguous(memory_format=torch.channels_last)
    assert not new.weight.requires_grad
    assert folding.model(torch.randn(2, 3, 6, 6).to(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )


class Net(nn.Module):
    """Two convolutions, two normalisations, and a forward pass to be given."""

    def __init__(self, forward, channels=3):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, channels, 1), nn.Conv2d(3, channels, 1)
        self.norm, self.norm2 = settled(nn.BatchNorm2d(channels)), settled(nn.BatchNorm2d(channels))
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def keep_for_later(net, x):
    y = net.conv(x)
    shortcut = y.view(2, -1)  # an alias, which the normalised values must not reach
    return net.norm(y).flatten(1) + shortcut


def written_to_later(net, x):
    y = net.conv(x)
    z = net.norm(y)
    return z + y.mul_(2.0)


RIGHT = {
    "weight-tied block": (lambda n, x: n.norm(n.conv(n.norm(n.conv(x)).relu())), 1),
    "one normalisation behind two convolutions": (lambda n, x: n.norm(n.conv(x)) + n.norm(n.other(x)), 1),
    "in place behind it": (lambda n, x: n.norm(n.conv(x)).relu_() + x, 1),
    "keyword": (lambda n, x: n.norm(input=n.conv(x)), 1),
    "each its own": (lambda n, x: n.norm2(n.other(n.norm(n.conv(x)))), 2),
    "in a loop": (lambda n, x: [x := n.norm(n.conv(x)) for _ in range(3)][-1], 1),
}


@pytest.mark.parametrize("name", RIGHT)
def test_layers_used_several_times_are_folded_where_that_is_right(name):
    torch.manual_seed(0)
    forward, expected = RIGHT[name]
    net = Net(forward).eval()
    folding = fold(net, torch.randn(2, 3, 4, 4))
    assert len(folding.of("fold")) == expected
    x = torch.randn(3, 3, 5, 5)
    torch.testing.assert_close(folding.model(x), net(x), rtol=1e-4, atol=1e-4)


WRONG = {
    "a convolution shared by two": (
        lambda n, x: n.norm(n.conv(x)) + n.norm2(n.conv(x)),
        ["norm2 as well", "norm as well"],
    ),
    "one output for two": (
        lambda n, x: [y := n.conv(x), n.norm(y) + n.norm2(y)][-1],
        ["norm2 as well", "norm as well"],
    ),
    "a convolution applied elsewhere": (lambda n, x: n.norm(n.conv(x)) + n.conv(x), ["add as well"]),
    "a shortcut": (keep_for_later, ["view as well"]),
    "changed afterwards": (written_to_later, ["mul_ as well"]),
    "returned, too": (lambda n, x: [y := n.conv(x), (n.norm(y), y)][-1], ["the caller, who is returned it, as well"]),
    "at the input": (lambda n, x: n.conv(n.norm(x)), ["it comes first"]),
    "behind an activation": (lambda n, x: n.norm(n.conv(x).relu()), ["follows relu"]),
    "behind a sum": (lambda n, x: n.norm(n.conv(x) + x), ["follows add"]),
    "behind a normalisation": (lambda n, x: n.norm2(n.norm(x)), ["it comes first", "follows norm,"]),
    "one of its two inputs": (lambda n, x: n.norm(n.conv(x)) + n.norm(x), ["it comes first"]),
    "not reached": (lambda n, x: n.conv(x), ["does not reach it"] * 2),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_never_folded_where_that_would_be_wrong(name):
    torch.manual_seed(0)
    forward, reasons = WRONG[name]
    net = Net(forward).eval()
    folding = fold(net, torch.randn(2, 3, 4, 4))
    assert folding.steps == ()
    unreached = [r for r in folding.skipped if not r.reached]
    assert all("does not reach" in r.reason for r in unreached)
    others = [r for r in folding.skipped if r not in unreached] or unreached
    for refusal, reason in itertools.zip_longest(others, reasons, fillvalue=None):
        assert reason in refusal.reason
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(folding.model(x), net(x), rtol=0, atol=0)
    assert str(folding).startswith("nothing to fold")


def one(layer, norm, x):
    folding = fold(nn.Sequential(layer, norm).eval(), x)
    assert folding.steps == ()
    (refusal,) = folding.skipped
    return refusal.reason


def test_dimension_1_is_not_always_that_of_the_channels():
    assert "dimension 1 of (2, 6, 6)" in one(nn.Linear(4, 6), settled(nn.BatchNorm1d(6)), torch.randn(2, 6, 4))
    # Without a batch (C, L) looks like (N, C).
    assert "dimension 1 of (6, 6)" in one(nn.Conv1d(4, 6, 1), settled(nn.BatchNorm1d(6)), torch.randn(4, 6))


def test_a_normalisation_without_fixed_statistics_stays():
    x = torch.randn(4, 3, 5, 5)
    assert "no running statistics" in one(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False), x)

    stubborn = nn.BatchNorm2d(3)
    stubborn.train = lambda mode=True: stubborn
    assert "training mode" in one(nn.Conv2d(3, 3, 1), stubborn, x)


def test_a_layer_that_may_compute_something_else_stays():
    x = torch.randn(4, 3, 5, 5)

    class Other(nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, self.weight / self.weight.norm(), self.bias)

    class OtherNorm(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).relu()

    assert "Other before it" in one(Other(3, 3, 1), settled(nn.BatchNorm2d(3)), x)
    assert "not compute s·x + t with fixed numbers alone, but calls relu" in one(
        nn.Conv2d(3, 3, 1), settled(OtherNorm(3)), x
    )
    parametrised = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
    assert "0 before it is parametrised" in one(parametrised, settled(nn.BatchNorm2d(3)), x)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("variance", torch.ones(3))

    def forward(self, x):
        return F.batch_norm(self.conv(x), self.mean, self.variance)


def test_a_function_that_normalises_is_reported():
    folding = fold(Functional(), torch.randn(4, 3, 5, 5))
    (refusal,) = folding.skipped
    assert refusal.kind == "batch_norm"
    assert "a function normalises, at test_fold_norm.py:" in refusal.reason


@pytest.mark.parametrize("place", ["conv", "norm", "around conv", "around norm"])
def test_hooks_that_see_the_values_are_respected(place):
    seen = []
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Sequential(settled(nn.BatchNorm2d(3))))
    module = {"conv": net[0][0], "norm": net[1][0], "around conv": net[0], "around norm": net[1]}[place]
    module.register_forward_hook(lambda m, args, output: seen.append((args, output)))
    folding = fold(net, torch.randn(4, 3, 5, 5))
    assert folding.steps == ()
    assert "hooks of" in folding.skipped[0].reason


def test_hooks_that_see_no_value_between_are_kept_and_no_obstacle():
    seen = []
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), settled(nn.BatchNorm2d(3))), nn.ReLU()).eval()
    net[0].register_forward_hook(lambda m, args, output: seen.append(output))
    x = torch.randn(4, 3, 5, 5)
    folding = fold(net, x)
    assert len(folding.of("fold")) == 1
    seen.clear()
    folding.model(x)
    net(x)
    torch.testing.assert_close(*seen)


def test_weights_beyond_the_dtype_are_not_folded():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, eps=0.0)).half()
    net[1].float().running_var.fill_(1e-16)
    x = torch.zeros(2, 3, 4, 4, dtype=torch.float16)
    nn.init.zeros_(net[0].bias)
    assert "would not be finite in torch.float16" in one(net[0], net[1], x)


class Reads(nn.Module):
    """Code that reads the normalisation's attributes, and code that reads the convolution's weights."""

    def __init__(self, what):
        super().__init__()
        self.conv, self.norm, self.what = nn.Conv2d(3, 3, 1), settled(nn.BatchNorm2d(3)), what

    def forward(self, x):
        y = self.norm(self.conv(x))
        return y * self.norm.num_features if self.what == "norm" else y + F.conv2d(x, self.conv.weight)


@pytest.mark.parametrize(("what", "reason"), [("norm", "does not run without it"), ("conv", "outputs would change")])
def test_a_fold_is_undone_if_other_code_reads_the_layer(what, reason):
    torch.manual_seed(0)
    net, x = Reads(what).eval(), torch.randn(2, 3, 4, 4)
    folding = fold(net, x)
    assert folding.steps == ()
    assert reason in folding.skipped[0].reason
    assert torch.equal(folding.model(x), net(x))


def test_fused_blocks_with_and_without_a_residual():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = sw.ConvBNPReLU(4, 4, init=0.25)
            self.second = sw.ConvBNPReLU(4, 4, num_parameters=1, init=0.0)
            self.norm = sw.BatchNormPReLU2d(4, init=0.125, learnable=False)

        def forward(self, x):
            return self.norm(self.second(self.first(x), x))

    torch.manual_seed(0)
    block = Block().double().eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            settled(module)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    y = F.leaky_relu(closed_form(block.first.conv(x), block.first.bn), 0.25)
    y = F.relu(closed_form(block.second.conv(y), block.second.bn) + x)
    y = F.leaky_relu(closed_form(y, block.norm), 0.125)
    folding = fold(block, x)
    torch.testing.assert_close(folding.model(x), y, rtol=1e-10, atol=1e-10)
    assert [step.name for step in folding.of("unfuse")] == ["first.bn", "second.bn", "norm"]
    assert [step.name for step in folding.of("fold")] == ["first.bn.0", "second.bn.0"]
    assert isinstance(folding.model.first.bn, nn.LeakyReLU)  # nothing else is left of it
    assert isinstance(folding.model.second.bn[1], nn.ReLU)  # beside the addition
    assert [(r.name, "follows" in r.reason) for r in folding.skipped] == [("norm.0", True)]
    assert not any(type(m).__name__.startswith("BatchNormPReLU") for m in folding.model.modules())
