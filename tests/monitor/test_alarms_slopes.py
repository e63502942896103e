"""Alarms about slopes: each in a training run that earns it, and in its twin that does not. The slopes are read from
the model by the test itself."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise.monitor import Monitor, Thresholds

from .training import ids, only

CHANNELS = 4


def train(model, teacher, *, steps=120, lr=0.05, optimizer=None, every=1, thresholds=None, scheduled=None):
    """Fit a function of random inputs; returns the monitor, and the slopes of the first PReLU after every step."""
    draw = torch.Generator().manual_seed(0)
    optimizer = optimizer or torch.optim.SGD(sw.param_groups(model, lr=lr), momentum=0.5)
    layer = next((module for module in model.modules() if isinstance(module, nn.PReLU)), None)
    slopes = []
    with Monitor(model, every=every, thresholds=thresholds) as monitor:
        for step in range(steps):
            x = torch.randn(128, CHANNELS, generator=draw)
            if scheduled:
                scheduled(step)
            optimizer.zero_grad()
            (model(x) - teacher(x)).square().mean().backward()
            optimizer.step()
            slopes.append(None if layer is None else layer.weight.detach().clone())
    return monitor, slopes


def net(activation=sw.PReLU, slopes=CHANNELS):
    """A linear layer that is right already, and a PReLU that learns the teacher's slope."""
    model = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), activation(slopes))
    nn.init.eye_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    return model


def slope(value):
    return lambda x: F.leaky_relu(x, value)


@pytest.mark.parametrize("build", [sw.PReLU, nn.PReLU, sw.BatchNormPReLU1d])
@pytest.mark.parametrize("value", [-396.0, 4e25])
def test_slopes_that_nobody_initialised(build, value):
    model = net(build)
    next(p for name, p in model[1].named_parameters() if name in ("slope", "weight") and (p == 0.25).all()).data[2] = (
        value
    )
    with pytest.warns(UserWarning, match="which looks like memory"):
        monitor, _ = train(model, slope(0.25), steps=3, lr=1e-9)
    alarm = only(monitor, "slope-uninitialised")
    assert (alarm.where, alarm.step) == ("1", 1)
    assert alarm.evidence == f"of 4 slopes one was {value:.3g} at the start"


@pytest.mark.parametrize(("start", "lr"), [(0.25, 1e4), (99.0, 1e-9)])
def test_slopes_that_went_far_were_initialised(start, lr):
    model = net()
    model[1].weight.data.fill_(start)
    monitor, slopes = train(model, slope(-0.5), steps=3, lr=lr)
    assert slopes[0].abs().max() > 98
    assert "slope-uninitialised" not in ids(monitor)


# The slope to learn, the steps that it takes with some to spare, what is not ordinary, and the words for it.
BANDS = {
    "slope-negative": (-0.5, 120, lambda a: a < -0.01, "below -0.01"),
    "slope-above-1": (1.6, 120, lambda a: a > 1.05, "above 1.05"),
    "slope-near-0": (0.0, 160, lambda a: a.abs() <= 0.01, "within 0.01 of 0"),
    "slope-near-1": (1.0, 400, lambda a: (a - 1).abs() <= 0.05, "within 0.05 of 1"),
}


@pytest.mark.parametrize("count", [1, CHANNELS])
@pytest.mark.parametrize("kind", BANDS)
def test_slopes_that_learn_to_leave_the_ordinary(kind, count):
    target, steps, within, words = BANDS[kind]
    model = net(slopes=count)
    sw.set_shared_gradient(model, "mean")  # the sum over the layer would run away
    monitor, slopes = train(model, slope(target), steps=steps, lr=0.08)
    assert "slope-runaway" not in ids(monitor)
    alarm = only(monitor, kind)
    inside = [int(within(values.double()).sum()) for values in slopes]
    enough = [number >= 0.5 * count for number in inside]
    first = next(i for i in range(2, len(enough)) if all(enough[i - 2 : i + 1]))
    assert (alarm.where, alarm.step, alarm.since) == ("1", first + 1, first - 1)
    median = slopes[first].double().quantile(0.5).item()
    several = f"{inside[first]} of {count} slopes {words}; median {median:.3g}"
    assert alarm.evidence == (several if count > 1 else f"the slope, {median:.3g}, is {words}")


@pytest.mark.parametrize("target", [0.1, 0.2, 0.6])
def test_slopes_that_learn_something_ordinary(target):
    assert train(net(), slope(target), steps=200, lr=0.2)[0].alarms == ()


def test_initial_slopes_raise_no_alarm():
    for start, target in ((0.0, 0.001), (1.0, 0.99)):
        model = net()
        nn.init.constant_(model[1].weight, start)
        assert train(model, slope(target))[0].alarms == ()
    model = net()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.0, 0.25, 0.25, 0.25]))  # one began there, the layer did not
    assert ids(train(model, slope(0.0), steps=200, lr=0.2)[0]) == {"slope-near-0"}


# slope-runaway


def test_a_slope_that_runs_away():
    model = net(nn.PReLU, slopes=1)  # its gradient is a sum over channels and batch, and the rate far too high
    monitor, slopes = train(model, lambda x: 3 * F.leaky_relu(x, 0.1), steps=30, lr=1.2)
    values = torch.cat([torch.tensor([0.25]), *slopes])
    moves = values.diff().abs().tolist()
    assert not math.isfinite(moves[-1])
    first = next(step for step, move in enumerate(moves, start=1) if move > Thresholds().runaway)
    alarm = only(monitor, "slope-runaway")
    assert (alarm.where, alarm.step, alarm.since) == ("1", first, first)
    assert alarm.evidence == f"a slope moved by {moves[first - 1]:.2g} in one step, to {values[first]:.3g}"
    assert first + 5 <= only(monitor, "not-finite").step


# slope-stuck


def test_slopes_that_no_optimizer_holds():
    model = net()
    monitor, slopes = train(model, slope(0.6), optimizer=torch.optim.SGD(model[0].parameters(), lr=0.05))
    alarm = only(monitor, "slope-stuck")
    assert (alarm.where, alarm.step, alarm.since) == ("1", Thresholds().stuck, 1)
    assert alarm.evidence == "all 4 at 0.25, where they began: no optimizer moves them"
    assert all((values == 0.25).all() for values in slopes)


class Unused(nn.Module):
    """Has a PReLU that its forward pass passes by."""

    def __init__(self):
        super().__init__()
        self.linear, self.act, self.other = nn.Linear(CHANNELS, CHANNELS), sw.PReLU(), nn.ReLU()

    def forward(self, x):
        return self.other(self.linear(x))


def test_slopes_that_no_gradient_reaches():
    monitor, _ = train(Unused(), slope(0.0))
    assert only(monitor, "slope-stuck").where == "act"
    assert only(monitor, "slope-stuck").evidence == "at 0.25, where it began: no gradient reaches them"

    class Positive(nn.Module):
        def forward(self, x):
            return F.softplus(x)

    model = net()
    model.insert(1, Positive())
    monitor, _ = train(model, slope(0.6))
    assert model[2].weight.grad.abs().max() == 0
    assert only(monitor, "slope-stuck").evidence.endswith("no gradient reaches them")
    assert ids(monitor) == {"slope-stuck", "linear-site"}


def test_slopes_whose_dtype_is_too_coarse_for_their_moves():
    coarse = net().bfloat16()  # in which 0.25 is followed by 0.252

    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = coarse

        def forward(self, x):
            return self.inner(x.bfloat16()).float()

    monitor, _ = train(Cast(), slope(0.6), lr=1e-4, steps=20)
    assert (coarse[1].weight == 0.25).all()
    assert coarse[1].weight.grad.abs().min() > 0
    assert only(monitor, "slope-stuck").evidence.endswith("each move is too small for their dtype")


def frozen(model):
    model[1].weight.requires_grad_(requires_grad=False)
    return torch.optim.SGD(model[0].parameters(), lr=0.05), None


def at_rate_0(model):
    return torch.optim.SGD(sw.param_groups(model, lr=0.05, slope_lr_scale=0.0)), None


def at_rate_0_with_decay(model):
    return torch.optim.SGD(sw.param_groups(model, lr=0.05, slope_lr_scale=0.0, slope_weight_decay=0.1)), None


def frozen_later(model):
    return torch.optim.SGD(sw.param_groups(model, lr=0.05)), lambda step: frozen(model)


def scheduled(model):
    optimizer = torch.optim.SGD(sw.param_groups(model, lr=0.05))
    sw.SlopeSchedule(optimizer, freeze=1000)
    return optimizer, None


def warming_up(model):
    optimizer = torch.optim.SGD(sw.param_groups(model, lr=0.05))
    groups = optimizer.param_groups

    def rate(step):
        groups[2]["lr"] = 0 if step < 30 else 0.05

    return optimizer, rate


@pytest.mark.parametrize("build", [frozen, frozen_later, at_rate_0, at_rate_0_with_decay, scheduled, warming_up])
def test_slopes_that_are_held_on_purpose(build):
    model = net()
    optimizer, rate = build(model)
    monitor, slopes = train(model, slope(0.3), steps=40, optimizer=optimizer, scheduled=rate)
    assert (slopes[20] == 0.25).all()
    assert monitor.alarms == ()


# slope-decayed, slope-tied


def test_slopes_under_weight_decay():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.03)
    monitor, _ = train(model, slope(0.25), optimizer=optimizer)
    alarm = only(monitor, "slope-decayed")
    assert (alarm.where, alarm.step, alarm.since) == ("1", 1, 1)
    assert alarm.evidence == "weight decay 0.03 on 4 slopes"
    assert (model[1].weight < 0.249).all()  # and so it is: the teacher's slope is 0.25

    model = net()
    optimizer = torch.optim.SGD(sw.param_groups(model, lr=0.05, weight_decay=0.03))
    assert train(model, slope(0.25), optimizer=optimizer)[0].alarms == ()


class Tied(nn.Module):
    def __init__(self, own):
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(CHANNELS, CHANNELS) for _ in range(2))
        self.first = sw.PReLU()
        self.second = sw.PReLU() if own else self.first

    def forward(self, x):
        return self.second(self.linear[1](self.first(self.linear[0](x))))


def test_a_slope_at_two_places():
    torch.manual_seed(0)
    monitor, _ = train(Tied(own=False), slope(0.25), steps=10)
    alarm = only(monitor, "slope-tied")
    assert (alarm.where, alarm.step, alarm.evidence) == ("first", 1, "applied 2 times by one call of the model")
    assert train(Tied(own=True), slope(0.25), steps=10)[0].alarms == ()
    thresholds = Thresholds(ignore=("slope-tied",))
    assert train(Tied(own=False), slope(0.25), steps=10, thresholds=thresholds)[0].alarms == ()


def test_thresholds_move_the_alarms():
    def raised(target, steps=120, **changed):
        return ids(train(net(), slope(target), steps=steps, lr=0.08, thresholds=Thresholds(**changed))[0])

    assert "slope-negative" in raised(-0.05)
    assert "slope-negative" not in raised(-0.05, near_0=0.06)
    assert raised(1.02, steps=400) == {"slope-near-1"}
    assert raised(1.02, steps=400, near_1=0.01) == set()
    assert "slope-above-1" in raised(1.1, steps=350, near_1=0.01)
    assert raised(0.5) == set()
    assert raised(0.5, near_1=0.6) == {"slope-near-1"}
    assert raised(0.5, runaway=0.001) == {"slope-runaway"}

    def half(x):
        return torch.where(torch.arange(CHANNELS) < 2, F.leaky_relu(x, 0.3), F.leaky_relu(x, -0.3))

    def shares(**changed):
        return ids(train(net(), half, steps=120, lr=0.08, thresholds=Thresholds(**changed))[0])

    assert shares() == {"slope-negative"}  # two of four
    assert shares(negative=0.6) == shares(negative=0.6, most=0.9) == set()

    model = net()
    outside = torch.optim.SGD(model[0].parameters(), lr=0.05)
    monitor, _ = train(model, slope(0.6), steps=20, optimizer=outside, thresholds=Thresholds(stuck=15))
    assert only(monitor, "slope-stuck").step == 15
