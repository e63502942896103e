"""The slope schedule: closed forms of what slopes do, alone and under every kind of scheduler; exact resumption."""

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD, Adam, AdamW, lr_scheduler

import slopewise as sw
from slopewise.optim import SlopeSchedule, slope_factor

STEPS = 12


class Linear(torch.nn.Module):
    """A loss that is linear in one weight and one slope: their gradients are -1, always."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.act = sw.PReLU(init=0.0, dtype=torch.float64)

    def forward(self):
        return -self.weight + self.act(-torch.ones(1, dtype=torch.float64)).sum()


def train(steps, optimizer, model, scheduler=None):
    """After each step: the weight, the slope and the groups' rates, as the user sees them."""
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model()
        loss.backward()
        optimizer.step()
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(1.0)  # no progress, ever
        elif scheduler:
            scheduler.step()
        yield model.weight.item(), model.act.weight.item(), [group["lr"] for group in optimizer.param_groups]


def optimized(kind=SGD, *, weight_decay=0.0, slope_weight_decay=0.0, slope_lr_scale=0.5, **settings):
    model = Linear()
    groups = sw.param_groups(
        model,
        lr=0.1,
        weight_decay=weight_decay,
        slope_lr_scale=slope_lr_scale,
        slope_weight_decay=slope_weight_decay,
    )
    return model, kind(groups, **settings)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 120))
def test_the_factor(freeze, warmup, step):
    factor = slope_factor(step, freeze=freeze, warmup=warmup)
    if step < freeze:
        assert factor == 0
    elif step >= freeze + warmup:
        assert factor == 1
    else:
        assert factor == pytest.approx((step - freeze + 1) / warmup)


def test_following_is_the_default():
    assert [slope_factor(step) for step in (0, 1, 1000)] == [1.0, 1.0, 1.0]


SCHEDULERS = {
    "none": lambda optimizer: None,
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 4),
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, [0.1, 0.1, 0.05], total_steps=STEPS + 1, cycle_momentum=False
    ),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=2),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)], [4]
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_scheduler_sees_and_sets_what_it_would_without(name):
    """Rates and weights are bitwise the same; the slope is the sum of its rates, each times its factor."""
    model, optimizer = optimized()
    rate = optimizer.param_groups[2]["lr"]
    scheduler = SCHEDULERS[name](optimizer)
    first = optimizer.param_groups[2]["lr"] if scheduler else rate
    alone = list(train(STEPS, optimizer, model, scheduler))
    model, optimizer = optimized()
    scheduler = SCHEDULERS[name](optimizer)
    schedule = SlopeSchedule(optimizer, freeze=3, warmup=4)
    factors, slopes = [0, 0, 0, 0.25, 0.5, 0.75] + [1] * STEPS, []
    for step, (weight, slope, rates) in enumerate(train(STEPS, optimizer, model, scheduler)):
        assert (weight, rates) == (alone[step][0], alone[step][2])
        assert schedule.factor == factors[step + 1]
        slopes.append(slope)
    used = [first, *(rates[2] for _, _, rates in alone)]
    expected = [math.fsum(f * r for f, r in zip(factors[:n], used[:n], strict=True)) for n in range(1, STEPS + 1)]
    torch.testing.assert_close(torch.tensor(slopes), torch.tensor(expected))


@pytest.mark.parametrize("settings", [{}, {"fused": True}, {"foreach": True}], ids=str)
@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_a_frozen_slope_does_not_move_at_all(kind, settings):
    model, optimizer = optimized(kind, slope_weight_decay=0.3, **settings)
    with torch.no_grad():
        model.act.weight.fill_(0.3)
    SlopeSchedule(optimizer, freeze=STEPS)
    assert {slope for _, slope, _ in train(STEPS, optimizer, model)} == {0.3}


def test_momentum_gathers_while_frozen():
    momentum, freeze = 0.8, 5
    model, optimizer = optimized(SGD, momentum=momentum)
    SlopeSchedule(optimizer, freeze=freeze)
    *_, (_, slope, _) = train(freeze + 1, optimizer, model)
    # The first step that counts is by the velocity of all steps so far: 1 + m + m^2 + ...
    assert slope == pytest.approx(0.05 * (1 - momentum ** (freeze + 1)) / (1 - momentum))


def test_moments_gather_while_frozen():
    freeze = 5
    model, optimizer = optimized(AdamW)
    SlopeSchedule(optimizer, freeze=freeze)
    *_, (_, slope, _) = train(freeze + 1, optimizer, model)
    state = optimizer.state[model.act.weight]
    assert state["step"] == freeze + 1
    assert state["exp_avg"].item() == pytest.approx(-(1 - 0.9 ** (freeze + 1)))
    assert slope == pytest.approx(0.05)  # the gradient is constant, so the first step is a whole one


@pytest.mark.parametrize("before_loading", [True, False])
@pytest.mark.parametrize("cut", [2, 4, 9])
def test_a_resumed_run_goes_on_bitwise(cut, before_loading):
    def start():
        model, optimizer = optimized(AdamW, weight_decay=0.1)
        return model, optimizer, lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

    model, optimizer, scheduler = start()
    SlopeSchedule(optimizer, freeze=3, warmup=4)
    whole = list(train(STEPS, optimizer, model, scheduler))

    parts = start()
    SlopeSchedule(parts[1], freeze=3, warmup=4)
    head = list(train(cut, parts[1], parts[0], parts[2]))
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    model, optimizer, scheduler = start()
    if before_loading:
        SlopeSchedule(optimizer, freeze=3, warmup=4)
    for part, state in zip((model, optimizer, scheduler), torch.load(file), strict=True):
        part.load_state_dict(state)
    if not before_loading:
        SlopeSchedule(optimizer, freeze=3, warmup=4)
    assert head + list(train(STEPS - cut, optimizer, model, scheduler)) == whole


def test_steps_that_a_scaler_skips_do_not_count():
    model, optimizer = optimized()
    schedule = SlopeSchedule(optimizer, freeze=1, warmup=2)
    scaler = torch.amp.GradScaler("cpu")
    for scale, factor in ((1.0, 0.5), (math.inf, 0.5), (1.0, 1.0)):
        optimizer.zero_grad()
        scaler.scale(model() * scale).backward()
        scaler.step(optimizer)
        scaler.update()
        assert schedule.factor == factor


def test_a_step_that_raised_leaves_no_trace_in_the_next():
    model, optimizer = optimized()
    schedule = SlopeSchedule(optimizer, warmup=4)

    def closure():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.step(closure)
    assert schedule.factor == 0.25
    ((_, slope, rates),) = train(1, optimizer, model)
    assert slope == pytest.approx(0.25 * 0.05)
    assert rates[2] == 0.05


def test_removed_it_does_nothing():
    model, optimizer = optimized()
    SlopeSchedule(optimizer, freeze=STEPS).remove()
    ((_, slope, _),) = train(1, optimizer, model)
    assert slope == 0.05


def test_what_is_refused():
    _, optimizer = optimized()
    with pytest.raises(ValueError, match=r"no group named 'slopes': build it from sw\.param_groups"):
        SlopeSchedule(SGD(Linear().parameters(), lr=0.1))
    for name in ("freeze", "warmup"):
        for value in (-1, 0.5):
            with pytest.raises(ValueError, match=f"^{name} must be a number of steps, 0 or more, got {value}"):
                SlopeSchedule(optimizer, **{name: value})
