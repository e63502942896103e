"""Passes whose gradients no optimizer is meant to use: they belong to the step, and have not failed."""

import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import slopewise as sw
from slopewise.recording import MOST_DROPPED

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
EVERY = 3


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.Linear(8, 1))


def by_autograd(model, x, *, set_to_none):
    (gradient,) = torch.autograd.grad(model(x).square().mean(), x)
    return gradient


def by_backward(model, x, *, set_to_none):
    x.grad = None
    model(x).square().mean().backward()
    model.zero_grad(set_to_none=set_to_none)
    return x.grad


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("attack", [by_autograd, by_backward])
@pytest.mark.parametrize("inner", [10, 20])
def test_adversarial_training(inner, attack, set_to_none):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with sw.watch(model, every=EVERY) as monitor:
        for _ in range(2 * EVERY):
            optimizer.zero_grad(set_to_none=set_to_none)
            x = X.clone().requires_grad_()
            for _ in range(inner):
                gradient = attack(model, x, set_to_none=set_to_none)
                x = (x + 0.01 * gradient.sign()).detach().requires_grad_()
            model(x).square().mean().backward()
            optimizer.step()
    assert not monitor.alarms
    assert [(sample.step, sample.passes, sample.dropped) for sample in monitor.samples] == [
        (1, inner + 1, 0),
        (1 + EVERY, inner + 1, 0),
    ]


def test_adversarial_training_under_a_scaler_that_finds_its_scale():
    """Each attempt that overflows is one; the passes of its attack are none."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu")
    with sw.watch(model, every=1) as monitor:
        for scale in (math.inf, math.inf, 1.0):
            for _ in range(MOST_DROPPED):
                by_autograd(model, X.clone().requires_grad_(), set_to_none=True)
            optimizer.zero_grad()
            scaler.scale(model(X).square().mean() * scale).backward()
            scaler.step(optimizer)
            scaler.update()
    (sample,) = monitor.samples
    assert (sample.passes, sample.dropped) == (3 * (MOST_DROPPED + 1), 2)
    assert not monitor.alarms


def test_gradients_of_many_tasks():
    model = net()
    parameters = [*model.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    with sw.watch(model, every=EVERY) as monitor:
        for _ in range(2 * EVERY):
            tasks = [torch.autograd.grad((model(X) - task).square().mean(), parameters) for task in range(25)]
            for parameter, *gradients in zip(parameters, *tasks, strict=True):
                parameter.grad = torch.stack(gradients).mean(0)
            optimizer.step()
            optimizer.zero_grad()
    assert not monitor.alarms
    assert [(s.step, s.passes, s.dropped) for s in monitor.samples] == [(1, 25, 0), (1 + EVERY, 25, 0)]


@pytest.mark.parametrize("freezes", [True, False])
def test_a_critic_while_its_generator_makes_many_steps(freezes):
    critic, generator = net(), nn.Linear(4, 4)
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.01) for each in (critic, generator)]
    with sw.watch(critic, every=EVERY) as monitor:
        for _ in range(2 * EVERY):
            critic.requires_grad_(not freezes)
            for _ in range(2 * MOST_DROPPED):
                critic.zero_grad()
                optimizers[1].zero_grad()
                critic(generator(X)).mean().backward()
                optimizers[1].step()
            critic.requires_grad_()
            optimizers[0].zero_grad()
            (critic(generator(X).detach()).mean() - critic(X).mean()).backward()
            optimizers[0].step()
            optimizers[0].zero_grad()
    assert not monitor.alarms
    passes = 2 * MOST_DROPPED + 2
    assert [(s.step, s.passes, s.dropped) for s in monitor.samples] == [(1, passes, 0), (1 + EVERY, passes, 0)]


class Waits(TorchDispatchMode):
    """Counts the operations that read a value, for which the host waits for other devices."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("set_to_none", [True, False])
def test_accumulation_waits_for_no_device(set_to_none):
    model, waits = net(), Waits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with sw.watch(model, every=1) as monitor:
        for _ in range(3):
            optimizer.zero_grad(set_to_none=set_to_none)
            for _ in range(4):
                with waits:
                    loss = model(X).square().mean()
                loss.backward()
            optimizer.step()
        assert waits.count == 0
        model.zero_grad()
        model(X).sum().backward()
        model.zero_grad()
        with waits:
            model(X)
    assert waits.count > 0  # so that there is something to see
    assert [sample.passes for sample in monitor.samples][:3] == [4] * 3
