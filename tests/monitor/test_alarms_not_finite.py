"""Alarms about numbers that are not finite, each compared with what hooks and optimizers saw."""

import math
import warnings

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.monitor import Monitor

from .training import ids, mlp, only, train


class Spoilt(nn.Module):
    """Passes its input on, but for one value in one step."""

    def __init__(self, step):
        super().__init__()
        self.step, self.now = step, 0

    def forward(self, x):
        self.now += 1
        return x if self.now != self.step else x.index_fill(1, torch.tensor([3]), math.inf)


def test_not_finite_names_the_first_place_of_the_forward_pass():
    model = mlp()
    model.insert(2, Spoilt(4))  # before the second linear layer: what comes after it is an echo
    alarm = only(train(model), "not-finite")
    assert (alarm.where, alarm.step, alarm.since) == ("4", 4, 4)
    assert "pre-activations of 16 of 16 units" in alarm.evidence
    assert "2 of 3 call sites, 4 of 4 layers' gradients" in alarm.evidence

    model = mlp()
    model.insert(3, Spoilt(4))  # after it: one unit
    alarm = only(train(model), "not-finite")
    assert (alarm.where, alarm.step) == ("4", 4)
    assert "pre-activations of 1 of 16 units" in alarm.evidence


@pytest.mark.parametrize("activation", [nn.ReLU, nn.PReLU])
@pytest.mark.parametrize("every", [1, 10])
def test_not_finite_of_a_learning_rate_that_is_far_too_high(every, activation):
    model, broken = mlp(activation), []

    def note(step, kind, tensors):  # norms: a gradient of 1e20 is lost, too
        broken.extend((step, kind, name) for name, tensor in tensors if not tensor.norm().isfinite())

    monitor = train(
        model,
        steps=60,
        lr=30.0,
        every=every,
        before=lambda step: note(step, "gradient", [(name, p.grad) for name, p in model.named_parameters()]),
        after=lambda step: note(step, "value", model.named_parameters()),
    )
    alarm = only(monitor, "not-finite")
    step, kind, _ = broken[0]
    assert 1 < step < 50
    if every == 1:
        assert kind == "gradient"
        last = [name for when, what, name in broken if (when, what) == (step, kind)][-1]
        assert (alarm.where, alarm.step, alarm.since) == (last.partition(".")[0], step, step)
        assert alarm.evidence.startswith("its gradient")
    else:  # it came between two samples: the weights were broken before the later one began
        assert alarm.since <= step <= alarm.step
        assert alarm.step - alarm.since == every - 1
        assert alarm.where == "0"
        assert "its parameters were so before this step" in alarm.evidence
        assert "4 of 4 layers' parameters, 3 of 3 call sites" in alarm.evidence


class Root(nn.Module):
    """Its value is 0 and finite, its gradient is not."""

    def forward(self, x):
        return x + (x * 0).abs().sqrt()


def test_not_finite_gradient_is_named_where_the_backward_pass_meets_it_first():
    model = mlp(depth=4)
    model.insert(4, Root())
    seen = {}

    def look(step):
        seen.setdefault(step, [n for n, p in model.named_parameters() if not p.grad.isfinite().all()])

    alarm = only(train(model, before=look), "not-finite")
    assert seen[1] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert (alarm.where, alarm.step) == ("2", 1)
    assert "its gradient; in all 2 of 5 layers' gradients" in alarm.evidence


class Broken(nn.Module):
    """Passes its input on; from the fourth call on one value, or all of a unit, is not a finite number."""

    def __init__(self, value, unit=None):
        super().__init__()
        self.value, self.unit, self.calls = value, unit, 0

    def forward(self, x):
        self.calls += 1
        if self.calls < 4:
            return x
        return x.index_fill(1, torch.tensor([self.unit]), self.value) if self.unit else x * self.value


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.PReLU, lambda: sw.PReLU(16), nn.GELU])
@pytest.mark.parametrize("lr", [0.02, 30.0])  # NaN comes with the data, or training diverges
def test_nan_raises_not_finite_and_no_echo_of_it(activation, lr):
    model = mlp(activation)
    if lr < 1:
        model.insert(0, Broken(math.nan))
    monitor = train(model, steps=40, lr=lr)
    lost = only(monitor, "not-finite").step
    assert [alarm.id for alarm in monitor.alarms if alarm.since >= lost] == ["not-finite"]
    assert all(site.never_positive == site.always_positive == site.dead == () for site in monitor.samples[-1].sites)


def test_nan_in_fused_layers_raises_no_echo_either():
    torch.manual_seed(0)
    model = nn.Sequential(Broken(math.nan), nn.Linear(8, 16), sw.BatchNormPReLU1d(16), nn.Linear(16, 1))
    assert ids(train(model)) == {"not-finite"}


@pytest.mark.parametrize("fused", [False, True])
def test_an_overflow_that_a_scaler_has_caught_is_no_alarm(fused):
    """It steps a fused optimizer in any case, which then changes nothing."""
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cpu")
    with Monitor(model, every=1) as monitor:
        for scale in (1.0, math.inf, 1.0):
            optimizer.zero_grad()
            scaler.scale(model(torch.randn(64, 8)).square().mean() * scale).backward()
            scaler.step(optimizer)
            scaler.update()
    assert monitor.step == (3 if fused else 2)
    assert monitor.alarms == ()


def test_one_broken_unit_says_nothing_of_itself_and_minus_infinity_is_not_positive():
    for value, never in ((math.nan, ()), (-math.inf, (5,))):
        model = nn.Sequential(nn.Linear(8, 16), Broken(value, unit=5), nn.ReLU(), nn.Linear(16, 1))
        with torch.no_grad():
            model[0].bias.fill_(3.0)
        site = train(model, steps=4).samples[-1].sites[0]
        assert (site.not_finite, site.never_positive) == ((5,), never)
        assert 5 not in site.always_positive


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["1", "3"])
@pytest.mark.parametrize("step", [1, 5])
def test_slopes_that_are_not_finite_before_a_step_are_named_themselves(value, place, step):
    """And neither the loss nor the layer behind them, which show the consequences."""
    model = mlp(nn.PReLU, depth=2)

    def spoil(done):
        if done == step - 1:
            model.get_submodule(place).weight.data.fill_(value)

    spoil(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # param_groups warns of slopes that are not finite at the start
        alarm = only(train(model, after=spoil, steps=step + 1), "not-finite")
    assert (alarm.where, alarm.step, alarm.since) == (place, step, step)
    assert "its slopes were so before this step" in alarm.evidence


def test_a_huge_slope_is_named_though_the_first_step_makes_it_nan():
    model = mlp(nn.PReLU, depth=2)
    model.get_submodule("1").weight.data.fill_(3e38)
    with pytest.warns(UserWarning, match="which looks like memory"):
        monitor = train(model, steps=1, lr=1.0)
    assert model.get_submodule("1").weight.isnan().all()
    alarm = only(monitor, "slope-uninitialised")
    assert (alarm.where, alarm.evidence) == ("1", "the slope was 3e+38 at the start")
