"""Steps that no optimizer completes, as a GradScaler skips them: they are seen while they go on."""

import math

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.recording import MOST_DROPPED

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.Linear(8, 1))


class Loop:
    """A loop with a GradScaler; `scale` is what the loss is multiplied by."""

    def __init__(self, every=1, *, set_to_none=True, model=None, between=False):
        self.model = model or net()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.scaler = torch.amp.GradScaler("cpu")
        self.monitor = sw.watch(self.model, every=every)
        self.set_to_none = set_to_none
        self.between = between  # gradients are cleared between forward and backward pass

    def run(self, passes, scale=1.0):
        for _ in range(passes):
            if not self.between:
                self.optimizer.zero_grad(set_to_none=self.set_to_none)
            loss = self.model(X).square().mean()
            if self.between:
                self.optimizer.zero_grad(set_to_none=self.set_to_none)
            self.scaler.scale(loss * scale).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return self.monitor


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize(("every", "steps"), [(1, 0), (1, 3), (50, 7)])
def test_nan_in_every_forward_pass_is_named_while_the_loop_goes_on(every, steps, set_to_none):
    loop = Loop(every, set_to_none=set_to_none)
    loop.run(steps)
    with torch.no_grad():
        loop.model[0].weight[0, 0] = math.nan
    monitor = loop.run(12)
    (alarm,) = monitor.alarms
    # In a step that is not sampled, the monitor waits for eight passes first.
    assert (alarm.id, alarm.where, alarm.step) == ("not-finite", "0", steps + 1)
    assert monitor.step == steps
    assert len(monitor.samples) == (steps + 1 if every == 1 else 2)


def test_a_loss_that_overflows_is_named_once_a_scaler_would_have_found_its_scale():
    loop = Loop()
    assert not loop.run(MOST_DROPPED, scale=math.inf).alarms
    (alarm,) = loop.run(1, scale=math.inf).alarms
    assert (alarm.id, alarm.where) == ("not-finite", "the loss")
    assert f"{MOST_DROPPED} backward passes without a step" in alarm.evidence


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_that_are_cleared_only_before_the_next_backward_pass_are_dropped_too(set_to_none):
    loop = Loop(set_to_none=set_to_none, between=True)
    assert not loop.run(3).alarms
    assert [sample.dropped for sample in loop.monitor.samples] == [0, 0, 0]
    with torch.no_grad():
        loop.model[0].weight[0, 0] = math.nan
    (alarm,) = loop.run(4).alarms
    assert (alarm.id, alarm.where, alarm.step) == ("not-finite", "0", 4)


class Root(nn.Module):
    """Its value is finite, its gradient is not."""

    def forward(self, x):
        return x + (x * 0).abs().sqrt()


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_gradient_that_is_not_finite_before_the_first_call_site_is_seen(set_to_none):
    model = net()
    model.insert(1, Root())
    loop = Loop(model=model, set_to_none=set_to_none)
    (alarm,) = loop.run(MOST_DROPPED + 2).alarms
    assert (alarm.id, alarm.where, alarm.step) == ("not-finite", "the loss", 1)
    assert not model[0].weight._post_accumulate_grad_hooks  # none is left


def test_training_goes_on_after_a_step_that_was_given_up():
    loop = Loop()
    loop.run(2)
    assert loop.run(30, scale=math.inf).step == 2
    state = loop.monitor.state_dict()
    loop.monitor.close()
    later = sw.Monitor(loop.model, every=1)
    later.load_state_dict(state)
    loop.monitor = later.start()
    assert [sample.step for sample in loop.run(3).samples] == [1, 2, 3, 4, 5]
    assert loop.monitor.step == 5


def test_a_scaler_that_finds_its_scale_raises_nothing():
    loop = Loop()
    monitor = loop.run(6, scale=math.inf)
    monitor = loop.run(3)
    assert [sample.dropped for sample in monitor.samples] == [6, 0, 0]
    assert not monitor.alarms
    assert "in 6 backward passes of these no step followed" in " ".join(str(monitor.summary()).split())


def test_passes_that_belong_to_a_step_are_not_dropped():
    for passes in (1, 40):  # gradient accumulation
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with sw.watch(model, every=1) as monitor:
            for _ in range(2):
                for _ in range(passes):
                    model(X).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        assert [(sample.passes, sample.dropped) for sample in monitor.samples] == [(passes, 0)] * 2

    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=30)

    def closure():
        optimizer.zero_grad()
        loss = (model(X) - X.sum(1, keepdim=True)).square().mean()
        loss.backward()
        return loss

    with sw.watch(model, every=1) as monitor:
        for _ in range(2):
            optimizer.step(closure)
    assert [sample.dropped for sample in monitor.samples] == [0, 0]
    assert monitor.samples[0].passes > MOST_DROPPED


def test_passes_of_a_closure_do_not_make_a_step_overdue():
    """Of steps with one evaluation before, one with many is not sampled in its middle."""
    model = net()
    passes = iter([1, 1, 40, 1])

    class Searching(torch.optim.SGD):
        def step(self, closure):
            for _ in range(next(passes)):
                closure()
            super().step()

    optimizer = Searching(model.parameters(), lr=0.01)

    def closure():
        optimizer.zero_grad()
        model(X).square().mean().backward()

    with sw.watch(model, every=50) as monitor:
        for _ in range(4):
            optimizer.step(closure)
    assert monitor.step == 4
    assert [sample.step for sample in monitor.samples] == [1]


def test_passes_without_a_backward_pass_are_not_dropped():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with sw.watch(model, every=1) as monitor:
        for _ in range(60):
            model(X)
        model(X).square().mean().backward()
        optimizer.step()
    (sample,) = monitor.samples
    assert (sample.passes, sample.dropped) == (61, 0)
