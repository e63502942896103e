"""A forward pass leaves the model unchanged, whatever it stores and wherever."""

from __future__ import annotations

import copy
import pickle
import random
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.monitor import Probe
from slopewise.trace import undisturbed

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@dataclass
class Record:
    features: list[torch.Tensor] = field(default_factory=list)


class Slotted:
    __slots__ = ("latest",)


class Bank:
    """Memory that is written to in place."""

    def __init__(self):
        self.rows = torch.zeros(4, 2)


class Keeps(nn.Module):
    """Runs two convolutions, and keeps a feature map in the way of a subclass."""

    def __init__(self):
        super().__init__()
        self.a, self.act, self.b = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)
        self.start()

    def start(self):
        pass

    def forward(self, x):
        h = self.act(self.a(x))
        y = self.b(h).mean((2, 3))
        self.keep(h, y)
        return y


class InOrderedDict(Keeps):
    def start(self):
        self.kept = OrderedDict(first=0)

    def keep(self, h, y):
        self.kept.pop("first", None)
        self.kept[f"h{len(self.kept)}"] = h


class InDeque(Keeps):
    def start(self):
        self.kept = deque([1, 2], maxlen=3)

    def keep(self, h, y):
        self.kept.append(y)


class InDataclass(Keeps):
    def start(self):
        self.kept = {"record": Record()}

    def keep(self, h, y):
        self.kept["record"].features += [h, y]


class InSlots(Keeps):
    def start(self):
        self.kept = SimpleNamespace(inner=Slotted())
        self.kept.inner.latest = None

    def keep(self, h, y):
        self.kept.inner.latest = y


class InSubmodule(Keeps):
    """In a module that is no submodule, by an attribute that was not there."""

    def start(self):
        self.others = [nn.Identity()]

    def keep(self, h, y):
        self.others[0].latest = (h, {"y": y})


class InBufferByName(Keeps):
    def start(self):
        self.register_buffer("mean", torch.zeros(2))

    def keep(self, h, y):
        self.mean = 0.9 * self.mean + 0.1 * y.mean(0)


class WrittenInPlace(Keeps):
    """The tensor itself becomes a part of the graph."""

    def start(self):
        self.bank = Bank()

    def keep(self, h, y):
        self.bank.rows[:2] = y


class Deleted(Keeps):
    def start(self):
        self.once = torch.ones(1)

    def keep(self, h, y):
        if hasattr(self, "once"):
            del self.once


class ByHook(Keeps):
    """A hook keeps features in the variables of the function that made it, and in a default value."""

    def start(self):
        features, latest = [], None

        def hook(module, args, output, store={}):  # noqa: B006
            nonlocal latest
            latest = output
            features.append(output)
            store["output"] = output

        self.kept = lambda: (list(features), latest, dict(hook.__defaults__[0]))
        self.a.register_forward_hook(hook)

    def keep(self, h, y):
        pass


class ByPartialHook(Keeps):
    def start(self):
        self.kept = {}
        self.a.register_forward_hook(partial(self.store, self.kept))

    @staticmethod
    def store(storage, module, args, output):
        storage[module] = output

    def keep(self, h, y):
        pass


def passed(module, args, output):
    """Leave the output as it is."""


class HookedByItsFirstPass(Keeps):
    """Notes that its hooks are there, as transformers' models do that collect hidden states."""

    def start(self):
        self.hooked = False

    def keep(self, h, y):
        if not self.hooked:
            self.hooked = True
            self.act.register_forward_hook(passed)


NETWORKS = [
    *(InOrderedDict, InDeque, InDataclass, InSlots, InSubmodule, InBufferByName, WrittenInPlace, Deleted, ByHook),
    *(ByPartialHook, HookedByItsFirstPass),
]


def contents(value):
    """All of a model's attributes as plain data, to compare."""
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.requires_grad, value.grad_fn is None, value.detach().flatten().tolist())
    if isinstance(value, dict):
        return [(str(name), contents(item)) for name, item in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return [contents(item) for item in value]
    if callable(value) and getattr(value, "__name__", "") == "<lambda>":
        return contents(value())
    if isinstance(value, nn.Module) or type(value).__module__ in (__name__, "types"):
        slots = {name: getattr(value, name) for name in getattr(type(value), "__slots__", ())}
        return contents({**getattr(value, "__dict__", {}), **slots})
    return repr(value)


@pytest.mark.parametrize("network", NETWORKS)
def test_all_that_a_pass_keeps_is_put_back(network):
    net = network()
    before = contents(net)
    with undisturbed(net):
        net(X)
        assert contents(net) != before
    assert contents(net) == before


USES = {
    "convert": lambda net, folder: sw.convert(net, X),
    "fold": lambda net, folder: sw.fold(net, X),
    "kaiming": lambda net, folder: sw.init.kaiming(net, X),
    "export_model": lambda net, folder: sw.export_model(net, X, folder / "net.pt2"),
    "Probe": lambda net, folder: Probe(net)(lambda: net(X).sum()),
}


@pytest.mark.parametrize(
    ("network", "use"),
    [(network, "convert") for network in NETWORKS]
    + [(network, use) for network in (InDataclass, HookedByItsFirstPass) for use in USES],
)
def test_the_model_given_is_as_it_was_after_every_use_of_it(network, use, tmp_path):
    torch.manual_seed(0)
    net = network()
    attributes = [name for name in vars(net) if name not in ("_parameters", "_modules")]
    before, hooks = contents({name: vars(net)[name] for name in attributes}), len(net.act._forward_hooks)
    USES[use](net, tmp_path)
    assert len(net.act._forward_hooks) == hooks
    assert [name for name in vars(net) if name not in ("_parameters", "_modules")] == attributes
    assert contents({name: vars(net)[name] for name in attributes}) == before
    copy.deepcopy(net)


@pytest.mark.parametrize("network", [network for network in NETWORKS if network is not ByHook])
def test_the_new_model_can_be_copied_pickled_and_converted(network):
    model = sw.convert(network(), X, init=0.0).model
    assert torch.equal(pickle.loads(pickle.dumps(copy.deepcopy(model)))(X), model(X))
    sw.convert(model, X)


@pytest.mark.parametrize("network", [InDataclass, InSubmodule, WrittenInPlace])
def test_a_model_that_keeps_a_graph_of_its_users_can_be_converted(network):
    net = network()
    loss = net(X).sum()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)
    conversion = sw.convert(net, X, init=0.0)
    assert conversion.proof.output.largest == 0
    copy.deepcopy(conversion.model)
    loss.backward()  # the user's graph is whole


def test_what_hooks_count_is_theirs():
    net, seen = Keeps(), []
    net.keep = lambda h, y: None
    net.act.register_forward_hook(lambda *_: seen.append("called"))
    sw.convert(net, X)
    assert seen


def test_random_states_are_put_back():
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.generator = nn.Linear(3, 3), torch.Generator().manual_seed(0)

        def forward(self, x):
            return self.linear(x) + random.random() + np.random.rand() + torch.rand(3, generator=self.generator)  # noqa: NPY002

    net, x = Draws(), torch.randn(2, 3)

    def draw():
        with undisturbed(net):
            return net(x)

    assert torch.equal(draw(), draw())


def test_objects_that_the_module_does_not_own_are_not_copied():
    class Data:
        def __init__(self):
            self.images = torch.zeros(2**24 + 1)  # 64 MiB and more

    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.trainer = nn.Linear(3, 3), SimpleNamespace(data=Data())

        def forward(self, x):
            self.trainer.data.images[0] += 1
            return self.linear(x)

    net = Trained()
    with undisturbed(net):
        net(torch.randn(2, 3))
    assert net.trainer.data.images[0] == 1
