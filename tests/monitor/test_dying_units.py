"""Units that die in training: what the monitor says, against the weights that stop moving."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw

STEPS, EVERY = 12, 2


class Net(nn.Module):
    def __init__(self, activation, *, normalise):
        super().__init__()
        torch.manual_seed(0)
        widths = (3, 8, 12, 10)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) if normalise else nn.Identity() for b in widths[1:])
        self.acts = nn.ModuleList(activation(b) for b in widths[1:])
        self.head = nn.Linear(widths[-1], 4)
        # Units 1 and 5 are dead from the start: the shift before the activation is far below 0.
        for conv, norm in zip(self.convs, self.norms, strict=True):
            with torch.no_grad():
                (norm if normalise else conv).bias[[1, 5]] = -30.0

    def forward(self, x):
        for conv, norm, act in zip(self.convs, self.norms, self.acts, strict=True):
            x = act(norm(conv(x)))
        return self.head(x.mean((2, 3)))


def incoming(net):
    """For each activation, a row for each unit: its weights, and its shift, which alone moves behind a dead layer."""
    return [
        torch.cat([conv.weight.flatten(1), *(p[:, None] for p in (conv.bias, *norm.parameters()))], 1).detach().clone()
        for conv, norm in zip(net.convs, net.norms, strict=True)
    ]


def train(activation, *, normalise, rate):
    """Plain SGD. Which units' weights moved in each step, and the monitor."""
    net = Net(activation, normalise=normalise).double()  # in float32 small updates of large weights are lost
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    moved = []
    with sw.Monitor(net, every=EVERY) as monitor:
        for _ in range(STEPS):
            images = torch.randn(16, 3, 8, 8, generator=generator).double()
            labels = torch.randint(4, (16,), generator=generator)
            before = incoming(net)
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
            moved.append([(a != b).any(1) for a, b in zip(before, incoming(net), strict=True)])
    assert all(p.isfinite().all() for p in net.parameters())
    return monitor, moved


# Biases move in large steps at a rate that is far too high, and carry whole layers below 0.
RATES = {False: 8.0, True: 40.0}


@pytest.mark.parametrize("normalise", [False, True])
def test_dead_relus_are_those_whose_weights_stand_still(normalise):
    monitor, moved = train(lambda _: nn.ReLU(), normalise=normalise, rate=RATES[normalise])
    died = 0
    for layer in range(3):
        site = f"acts.{layer}"
        history = [next(s for s in sample.sites if s.site == site) for sample in monitor.samples]
        for sample, measured in zip(monitor.samples, history, strict=True):
            units = (~moved[sample.step - 1][layer]).nonzero().flatten().tolist()
            assert list(measured.zero_gradient) == units
            assert set(measured.dead) <= set(units)
            assert set(measured.never_positive) <= set(units)  # of a ReLU
        # Since when: the first of the samples without a break up to the last in which the weights stood still.
        last = history[-1].dead
        assert set(last) >= {1, 5}
        for unit, since in monitor.dead_since(site).items():
            assert unit in last
            steps = [sample.step for sample in monitor.samples if sample.step >= since]
            assert not any(moved[step - 1][layer][unit] for step in steps)
            earlier = [s for s, h in zip(monitor.samples, history, strict=True) if s.step < since]
            if earlier:
                before = history[len(earlier) - 1]
                assert unit not in before.dead
            died += since > 1
        assert monitor.dead_since(site).keys() == set(last)
    assert died > 0  # the rate killed some that were alive at first


@pytest.mark.parametrize("normalise", [False, True])
def test_the_same_units_go_on_moving_with_prelu(normalise):
    monitor, moved = train(lambda c: sw.PReLU(c, 0.25), normalise=normalise, rate=0.05)
    for layer in range(3):
        for sample in monitor.samples:
            site = next(s for s in sample.sites if s.site == f"acts.{layer}")
            assert {1, 5} <= set(site.never_positive)
            assert site.zero_gradient == site.dead == ()
            assert moved[sample.step - 1][layer].all()
        assert monitor.dead_since(f"acts.{layer}") == {}
