"""The sample of a call site, against a plain recomputation in float64 on the pre-activations themselves."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import slopewise as sw

MODULES = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "celu": lambda: nn.CELU(0.5),
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "gelu": lambda: nn.GELU("tanh"),
    "rrelu": lambda: nn.RReLU(0.25, 0.25),  # what it draws at random is always the same
}
IN_PLACE = {name: MODULES[name] for name in MODULES if name != "gelu"}
FUNCTIONS = {
    "relu": (F.relu, torch.relu, torch.relu_, lambda z: z.relu(), lambda z: z.relu_(), lambda z: F.relu(input=z)),
    "leaky_relu": (
        lambda z: F.leaky_relu(z, 0.2, inplace=True),
        lambda z: F.leaky_relu_(z, 0.2),
        lambda z: F.leaky_relu(z, negative_slope=0.2),
    ),
    "elu": (F.elu, lambda z: F.elu(z, inplace=True)),
    "celu": (torch.celu, torch.celu_),
    "selu": (F.selu, torch.selu_),
    "silu": (F.silu, lambda z: F.silu(z, inplace=True)),
    "gelu": (F.gelu,),
    "mish": (F.mish,),
    "hardswish": (F.hardswish,),
    "relu6": (F.relu6,),
    "rrelu": (lambda z: F.rrelu(z, 0.2, 0.2, training=True), lambda z: torch.rrelu_(z, 0.2, 0.2, training=True)),
    "prelu": (lambda z: F.prelu(z, z.new_tensor([0.3])), lambda z: torch.prelu(z, z.new_tensor([-0.3]))),
}


class Custom(nn.Module):
    """An activation of a user's own, with a residual beside it and work around it."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(x) * 2 + x


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x.clone())


def prelus(channels, axis):
    yield nn.PReLU()
    yield sw.PReLU()
    yield sw.PReLU(low_memory=True)
    yield sw.PReLU(channels, channel_dim=axis, init=[(-0.5, 0.0, 0.25, 1.5)[c % 4] for c in range(channels)])
    yield sw.PReLU(channels, channel_dim=axis, low_memory=True)
    if axis == 1:
        yield nn.PReLU(channels)


@st.composite
def layers(draw):
    """Layer that computes z, an input for it, and the dimension of z's units."""
    channels = draw(st.integers(1, 5))
    batch, size = draw(st.integers(1, 4)), draw(st.sampled_from([channels, 3, 6]))
    kind = draw(st.sampled_from(["linear", "signal", "image", "nhwc", "tokens", "norm"]))
    if kind == "linear":
        return nn.Linear(3, channels), torch.randn(batch, 3), 1
    if kind == "signal":
        return nn.Conv1d(2, channels, 1), torch.randn(batch, 2, size), 1
    if kind in ("image", "nhwc"):
        images = torch.randn(batch, 2, size, 2)
        layout = torch.channels_last if kind == "nhwc" else torch.contiguous_format
        return nn.Conv2d(2, channels, 1).to(memory_format=layout), images.contiguous(memory_format=layout), 1
    if kind == "tokens":
        return nn.Linear(3, channels), torch.randn(batch, size, 3), 2
    return nn.Sequential(nn.Linear(3, channels), nn.LayerNorm(channels)), torch.randn(batch, size, 3), 2


@st.composite
def activations(draw, channels, axis):
    form = draw(st.sampled_from(["module", "in place", "function", "custom", "prelu"]))
    if form == "prelu":
        return "prelu", draw(st.sampled_from(list(prelus(channels, axis)))), "act"
    if form == "function":
        name = draw(st.sampled_from(sorted(FUNCTIONS)))
        return name, Function(draw(st.sampled_from(FUNCTIONS[name]))), "act"
    name = draw(st.sampled_from(sorted(IN_PLACE if form == "in place" else MODULES)))
    module = MODULES[name]()
    module.inplace = form == "in place"
    return name, Custom(module) if form == "custom" else module, "act.act" if form == "custom" else "act"


class Net(nn.Module):
    def __init__(self, layer, scales, act):
        super().__init__()
        self.layer, self.scales, self.act = layer, scales, act

    def forward(self, x):
        return self.act(self.layer(x) * self.scales)


def gradients(act, z, unseen, dtype):
    """dL/dz whole, and dL/dz over dL/dy of the activation alone, by plain autograd."""
    act = copy.deepcopy(act).to(dtype)
    z = z.detach().to(dtype).requires_grad_()
    (act(z.clone()) * unseen).square().sum().backward()
    alone = z.detach().requires_grad_()
    given = alone.clone()
    y = act.act(given) if isinstance(act, Custom) else act(given)
    outer = y * 2 + z.detach() if isinstance(act, Custom) else y
    (gradient_y,) = torch.autograd.grad((outer * unseen).square().sum(), y, retain_graph=True)
    (gradient_z,) = torch.autograd.grad(y, alone, gradient_y)
    return z.grad, gradient_z.norm() / gradient_y.norm()


@given(st.data())
@settings(max_examples=100)
def test_counts_and_gradients_are_those_of_a_plain_recomputation(data):
    torch.manual_seed(data.draw(st.integers(0, 99)))
    layer, x, axis = data.draw(layers())
    with torch.no_grad():
        plain = layer(x)
    channels, ones = plain.shape[axis], [size if d == axis else 1 for d, size in enumerate(plain.shape)]
    kind, act, site = data.draw(activations(channels, axis))

    def per_channel(*values):
        drawn = data.draw(st.lists(st.sampled_from(values), min_size=channels, max_size=channels))
        return torch.tensor(drawn).reshape(ones)

    scales, unseen = per_channel(-50.0, 0.0, 1.0, 50.0), per_channel(0.0, 1.0)
    net = Net(layer, scales, act)
    with sw.Monitor(net, every=1) as monitor:
        (net(x) * unseen).square().sum().backward()
    (measured,) = monitor.samples[0].sites
    assert (measured.site, measured.activation, measured.units) == (site, kind, channels)
    assert monitor.notes == ()

    z = plain * scales
    positive = (z > 0).movedim(axis, 0).flatten(1).double().mean(1)
    assert measured.values == z.numel() // channels
    assert measured.positive == pytest.approx(positive.mean().item())
    assert monitor.units(site).positive.tolist() == pytest.approx(positive.tolist())
    assert measured.never_positive == units(positive == 0)
    assert measured.always_positive == units(positive == 1)

    whole, _ = gradients(act, z, unseen, torch.float32)  # in float64 fewer gradients are so small that they are 0
    assert measured.zero_gradient == units((whole == 0).movedim(axis, 0).flatten(1).all(1))
    _, passed = gradients(act, z, unseen, torch.float64)
    if passed.isnan():  # 0 / 0
        assert measured.pass_through is None
    else:
        assert measured.pass_through == pytest.approx(passed.item(), rel=1e-4, abs=1e-6)


def units(which):
    return tuple(which.nonzero().flatten().tolist())
