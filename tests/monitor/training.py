"""Training runs that raise alarms, and ways to look at what was raised."""

import torch
from torch import nn

import slopewise as sw
from slopewise.monitor import Monitor


def train(
    model,
    *,
    steps=20,
    lr=0.02,
    batch=256,
    width=8,
    every=1,
    thresholds=None,
    optimizer=None,
    outlier=None,
    before=lambda step: None,
    after=lambda step: None,
):
    """Fit a smooth function of random inputs; `before` and `after` look at the update of a step.

    In the step `outlier` the inputs are blank and the labels absurd.
    """
    draw = torch.Generator().manual_seed(0)
    optimizer = optimizer or torch.optim.SGD(sw.param_groups(model, lr=lr))
    with Monitor(model, every=every, thresholds=thresholds) as monitor:
        for step in range(1, steps + 1):
            x = torch.randn(batch, width, generator=draw)
            target = x[:, :1].sin()
            if step == outlier:
                x, target = torch.zeros_like(x), torch.full_like(target, -1e4)
            optimizer.zero_grad()
            loss = (model(x) - target).square().mean()
            loss.backward()
            before(step)
            optimizer.step()
            after(step)
    return monitor


def mlp(activation=nn.ReLU, depth=3, width=16, seed=0):
    torch.manual_seed(seed)
    layers = []
    for index in range(depth):
        layers += [nn.Linear(8 if index == 0 else width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def ids(monitor):
    return {alarm.id for alarm in monitor.alarms}


def only(monitor, kind, where=None):
    (alarm,) = [alarm for alarm in monitor.alarms if alarm.id == kind and where in (None, alarm.where)]
    return alarm


def killed(activation, units=9):
    model = mlp(activation)
    with torch.no_grad():
        model[2].bias[:units] = -30
    return model
