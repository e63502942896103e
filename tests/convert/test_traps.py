"""Hand-written networks, each with a trap: every call site gets slopes of its own, and nothing else changes."""

from __future__ import annotations

import copy
import pickle
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw


def conv(a, b):
    return nn.Conv2d(a, b, 3, padding=1)


class ReusedModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.relu = conv(3, 4), conv(4, 6), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x))))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(3, 4), conv(4, 4), conv(4, 4)

    def forward(self, x):
        x = F.relu(self.conv1(x), inplace=True)
        x = torch.relu(input=self.conv2(x))
        return self.conv3(x).relu_()


class InPlaceOnResidual(nn.Module):
    """The shortcut is read after the in-place activation, and so is its output."""

    def __init__(self):
        super().__init__()
        self.stem, self.act, self.conv = conv(3, 4), nn.ReLU(inplace=True), conv(4, 4)

    def forward(self, x):
        x = self.stem(x)
        return x + self.conv(self.act(x))


class InPlaceOnArgument(nn.Module):
    """A block changes its argument, which its caller uses."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = conv(3, 4), nn.Sequential(nn.ReLU(inplace=True), conv(4, 4))

    def forward(self, x):
        x = self.stem(x)
        return self.block(x) + x


class OnSlice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(3, 8)

    def forward(self, x):
        x = self.conv(x)
        return torch.cat([F.relu(x[:, :5]), x[:, 5:]], dim=1)


class InPlaceOnSlice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(3, 8)

    def forward(self, x):
        x = self.conv(x)
        x[:, :5].relu_()
        return x


class ControlFlow(nn.Module):
    """Depends on values: torch.fx cannot trace it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.relu = conv(3, 4), conv(4, 4), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        if x.mean() > -1e9:
            x = F.relu(self.conv2(x))
        return self.relu(x - 0.5)


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([conv(3, 4), conv(4, 6), conv(6, 4)])

    def forward(self, x):
        for layer in self.convs:
            x = F.relu(layer(x))
        return x


def rectified(x):
    return F.relu(x)


class Helper(nn.Module):
    """The activation is applied in a function that several places call."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(3, 4), conv(4, 6)

    def forward(self, x):
        return rectified(self.conv2(rectified(self.conv1(x))))


class TrainingFlag(nn.Module):
    """What torch.fx would freeze: another pass in training."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(3, 4), conv(4, 4)

    def forward(self, x):
        x = F.dropout(F.relu(self.conv1(x)), 0.5, training=self.training)
        return F.relu(self.conv2(x))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        return x + self.down(F.relu(self.up(x)))


class Tokenised(nn.Module):
    """(N, C, H, W) to tokens (N, H·W, C) and back."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix, self.act = conv(3, 5), nn.Linear(5, 5), nn.ReLU()

    def forward(self, x):
        x = self.conv(x)
        tokens = self.act(x.flatten(2).transpose(1, 2))
        return F.relu(self.mix(tokens).mT.reshape(x.shape))


class TasNet(nn.Module):
    """1-D, like the separator of Conv-TasNet."""

    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(1, 8)
        self.depth = nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.inner, self.outer, self.mask = nn.Conv1d(4, 8, 1), nn.Conv1d(8, 4, 1), nn.ReLU()

    def forward(self, x):
        return x * self.mask(self.outer(self.norm(F.relu(self.depth(F.relu(self.inner(x)))))))


class Volumes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class TiedBlocks(nn.Module):
    """A block that is applied three times shares its weights, and its slopes with them."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = conv(3, 4), nn.Sequential(conv(4, 4), nn.ReLU())

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = x + self.block(x)
        return x


class ReusedHead(nn.Module):
    """A block without parameters is a mere function: each place of it gets slopes of its own."""

    def __init__(self):
        super().__init__()
        self.post = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
        self.conv1, self.conv2 = conv(3, 4), conv(4, 6)

    def forward(self, x):
        return self.post(self.conv2(self.post(self.conv1(x))))


class OneForAll(nn.Module):
    """One activation object that every block holds."""

    def __init__(self):
        super().__init__()
        act = nn.ReLU(inplace=True)
        self.a, self.b = nn.Sequential(conv(3, 4), act), nn.Sequential(conv(4, 6), act, conv(6, 6), act)

    def forward(self, x):
        return self.b(self.a(x))


class Subclass(nn.Sequential):
    def __init__(self):
        act = nn.ReLU()
        super().__init__(conv(3, 4), act, conv(4, 6), act)


class SubclassWithForward(nn.Sequential):
    def __init__(self):
        super().__init__(conv(3, 4), nn.ReLU())

    def forward(self, x):
        return F.relu(super().forward(x) - 1.0) + 1.0


class Unregistered(nn.Module):
    """Its activations are in a plain list, where PyTorch does not see them."""

    def __init__(self):
        super().__init__()
        self.acts, self.conv1, self.conv2 = [nn.ReLU(), nn.ReLU(inplace=True)], conv(3, 4), conv(4, 4)

    def forward(self, x, *, scale=1.0):
        return self.acts[1](self.conv2(self.acts[0](self.conv1(x)) * scale))


class OwnActivation(nn.Module):
    """A class of one's own that does nothing but apply ReLU, in a method of the network other than forward."""

    class Act(nn.Module):
        def forward(self, x):
            return F.relu(x)

    def __init__(self):
        super().__init__()
        self.act, self.conv1, self.conv2 = self.Act(), conv(3, 4), conv(4, 4)

    def features(self, x):
        return self.act(self.conv1(x))

    def forward(self, x):
        return {"features": self.features(x), "out": [self.conv2(self.features(x)).relu()]}


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(3, 4)

    def forward(self, x):
        return F.relu(F.relu(self.conv(x)) - 0.1)


IMAGES = (2, 3, 6, 6)
# The network, the shape of its input, and for each call site the channels that are seen there.
TRAPS = {
    ReusedModule: (IMAGES, [4, 6]),
    Functional: (IMAGES, [4, 4, 4]),
    InPlaceOnResidual: (IMAGES, [4]),
    InPlaceOnArgument: (IMAGES, [4]),
    OnSlice: (IMAGES, [5]),
    InPlaceOnSlice: (IMAGES, [5]),
    ControlFlow: (IMAGES, [4, 4, 4]),
    Loop: (IMAGES, [4, 6, 4]),
    Helper: (IMAGES, [4, 6]),
    TrainingFlag: (IMAGES, [4, 4]),
    Tokens: ((2, 7, 6), [12]),
    Tokenised: (IMAGES, [5, 5]),
    TasNet: ((2, 4, 20), [8, 8, 4]),
    Volumes: ((2, 1, 5, 5, 5), [4]),
    TiedBlocks: (IMAGES, [4]),
    ReusedHead: ((2, 3, 8, 8), [4, 6]),
    OneForAll: (IMAGES, [4, 6, 6]),
    Subclass: (IMAGES, [4, 6]),
    SubclassWithForward: (IMAGES, [4, 4]),
    Unregistered: (IMAGES, [4, 4]),
    OwnActivation: (IMAGES, [4, 4, 4]),
    Nested: (IMAGES, [4, 4]),
}


@pytest.fixture(params=TRAPS, ids=lambda trap: trap.__name__)
def trap(request):
    return given(request.param)


@cache
def given(network):
    shape, channels = TRAPS[network]
    torch.manual_seed(0)
    return network(), torch.randn(shape), channels


@cache
def conversion_of(network, init):
    model, x, _ = given(network)
    return sw.convert(model, x, init=init)


def leaves(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [leaf for item in (found.values() if isinstance(found, dict) else found) for leaf in leaves(item)]


def run(model, x, *, training):
    torch.manual_seed(1)
    return leaves(copy.deepcopy(model).train(training)(x.clone()))


def gradients(model, x):
    torch.manual_seed(1)
    model = copy.deepcopy(model).eval()
    sum(out.double().square().sum() for out in leaves(model(x.clone()))).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_every_site_is_found_and_has_its_own_channels(trap, oracle):
    model, x, channels = trap
    with oracle(0.0) as watched:
        run(model, x, training=False)
    conversion = conversion_of(type(model), 0.25)
    assert sum(site.calls for site in conversion.sites) == watched.calls
    assert [site.slopes for site in conversion.sites] == channels
    assert not conversion.skipped
    for site in conversion.sites:
        assert conversion.model.get_submodule(site.name).weight.numel() == site.slopes
    assert conversion.added == sum(channels)
    with oracle(0.0) as watched:
        run(conversion.model, x, training=False)
    assert watched.calls == 0


@pytest.mark.parametrize("training", [True, False])
def test_slope_zero_preserves_the_function_bit_for_bit(trap, training):
    model, x, _ = trap
    converted = conversion_of(type(model), 0.0)
    assert converted.proof.output.largest == 0
    assert converted.proof.start.largest == 0
    assert converted.proof.slopes.largest == 0
    for wanted, got in zip(run(model, x, training=training), run(converted.model, x, training=training), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    if not training:
        wanted, got = gradients(model, x), gradients(converted.model, x)
        assert wanted.keys() <= got.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(got[name], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_another_slope_is_what_a_leaky_relu_at_every_site_would_be(trap, oracle, training):
    model, x, _ = trap
    converted = conversion_of(type(model), 0.25).model
    with oracle(0.25):
        wanted = run(model, x, training=training)
    for one, other in zip(wanted, run(converted, x, training=training), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-6)


def test_the_model_given_is_left_alone_and_the_new_one_keeps_its_class_and_names(trap):
    model, x, _ = trap
    state, attributes = copy.deepcopy(model.state_dict()), set(vars(model))
    converted = sw.convert(model, x).model
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert set(vars(model)) == attributes
    assert isinstance(converted, type(model))
    assert type(converted).__name__ == type(model).__name__
    assert state.keys() <= converted.state_dict().keys()
    assert {name for name, _ in model.named_children()} <= {name for name, _ in converted.named_children()}
    assert converted.training == model.training


def test_slopes_learn_and_copies_and_pickles_are_the_same_network(trap):
    model, x, channels = trap
    converted = copy.deepcopy(conversion_of(type(model), 0.25).model)
    optimizer = torch.optim.SGD(sw.param_groups(converted, lr=0.01))
    for _ in range(2):
        optimizer.zero_grad()
        sum(out.square().mean() for out in leaves(converted(x.clone()))).backward()
        optimizer.step()
    slopes = [m.weight for m in converted.modules() if isinstance(m, sw.PReLU)]
    assert sorted(s.numel() for s in slopes) == sorted(channels)
    assert all((s != 0.25).any() for s in slopes)
    for other in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        for wanted, got in zip(run(converted, x, training=False), run(other, x, training=False), strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=0)
