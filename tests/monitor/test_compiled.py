"""Models that are compiled as a whole or in parts: nothing is compiled again for the monitor, and no bit differs."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters

import slopewise as sw

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # compilers raise warnings in their own code
]
STEPS = 7


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.act = nn.Linear(4, 8), nn.ReLU()

    def forward(self, x):
        return self.act(self.linear(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.part, self.rest, self.head = Part(), nn.Sequential(nn.Linear(8, 8), sw.PReLU(8)), nn.Linear(8, 1)

    def forward(self, x):
        return F.silu(self.head(self.rest(self.part(x))))


def whole(net):
    return torch.compile(net)


# What is traced, and when, does not depend on the compiler behind; this one takes no time.
QUICK = {"backend": "aot_eager"}


def in_place(net):
    net.compile(**QUICK)
    return net


def forward(net):
    net.forward = torch.compile(net.forward, **QUICK)
    return net


def part(net):
    net.part = torch.compile(net.part, **QUICK)
    return net


def part_in_place(net):
    net.part.compile(**QUICK)
    return net


def function(net):
    net.part.act = _Function(torch.compile(lambda x: F.relu(x + 0), **QUICK))
    return net


class _Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def train(net, call, monitor=None):
    """Return the final weights, and the number of compiled programs after each step."""
    optimizer, compiled = torch.optim.SGD(net.parameters(), lr=0.1), []
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        call(torch.randn(16, 4, generator=generator)).square().mean().backward()
        optimizer.step()
        compiled.append(counters["stats"]["unique_graphs"])
    if monitor is not None:
        monitor.close()
    return [p.detach().clone() for p in net.parameters()], compiled


@pytest.mark.parametrize("compiling", [whole, in_place, forward, part, part_in_place, function])
def test_compiled_models_train_the_same_and_are_not_compiled_again(compiling):
    torch._dynamo.reset()
    net = Net()
    expected, _ = train(net, compiling(net))
    for watched in ("before", "after", "inside"):
        torch._dynamo.reset()
        counters.clear()
        net = Net()
        if watched == "before":
            monitor = sw.watch(net, every=2)
        call = compiling(net)
        if watched != "before":
            monitor = sw.watch(call if watched == "after" else net, every=2)
        weights, compiled = train(net, call, monitor)
        assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
        assert len(set(compiled[2:])) == 1  # at most one more for sampled steps
        assert compiled[-1] > 0
        assert [sample.step for sample in monitor.samples] == [1, 3, 5, 7]
        assert all(layer.gradient and layer.update for layer in monitor.samples[-1].layers)
        assert all(slopes.gradient for slopes in monitor.samples[-1].slopes)
        sites = [site.site for site in monitor.samples[-1].sites]
        if compiling is function:  # a module is told by what it computes, whoever compiled the function that it calls
            assert sites == ["part.act", "rest.1", "silu()"]
        else:
            assert sites == (["rest.1"] if compiling in (part, part_in_place) else [])
            assert "compiled" in monitor.notes[0]


def test_a_compiled_step_of_the_optimizer():
    def run(*, watched):
        torch._dynamo.reset()
        counters.clear()
        net = Net()
        monitor = sw.watch(net, every=2) if watched else None
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        step = torch.compile(optimizer.step, **QUICK)
        for number in range(4):
            optimizer.zero_grad()
            net(torch.randn(16, 4, generator=torch.Generator().manual_seed(number))).square().mean().backward()
            step()
        return [p.detach().clone() for p in net.parameters()], monitor

    expected, _ = run(watched=False)
    weights, monitor = run(watched=True)
    assert counters["stats"]["unique_graphs"] <= 2  # with the first step's, which makes the momentum
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert monitor.step == 4
    monitor.close()
