"""Frozen slopes under optimizers and wrappers of every kind: bit for bit as they were, or a refusal in words."""

import gc
import math
import weakref

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

import slopewise as sw
from slopewise.errors import SlopewiseError
from slopewise.optim import SlopeSchedule

FREEZE, STEPS = 6, 9


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), sw.PReLU(6, init=0.3), nn.Linear(6, 1), sw.PReLU(init=0.1)).to(dtype)


def groups(model, **settings):
    return sw.param_groups(model, **{"lr": 0.01, "weight_decay": 0.1, "slope_weight_decay": 0.1, **settings})


def closure_of(model, optimizer):
    dtype = model[0].weight.dtype

    def closure():
        optimizer.zero_grad()
        loss = model(torch.randn(16, 4, dtype=dtype)).square().mean()
        loss.backward()
        return loss

    return closure


def plain(optimizer, closure):
    closure()
    optimizer.step()


def slopes_over(steps, model, optimizer, drive=plain):
    """The slopes before the first step and after each."""

    def now():
        return torch.cat([model[1].weight.detach(), model[3].weight.detach()]).clone()

    rates = [now()]
    for _ in range(steps):
        drive(optimizer, closure_of(model, optimizer))
        rates.append(now())
    return rates


def check_frozen(model, optimizer, drive=plain, on=None, warmup=0):
    schedule = SlopeSchedule(on or optimizer, freeze=FREEZE, warmup=warmup)
    weights = model[0].weight.detach().clone()
    start, *then = slopes_over(STEPS, model, optimizer, drive)
    assert all(torch.equal(slopes, start) for slopes in then[:FREEZE])
    assert (then[-1] != start).any()
    assert (model[0].weight != weights).any()
    assert schedule.factor == 1


OF_TORCH = {
    "SGD": {"momentum": 0.9},
    "Adam": {},
    "AdamW": {"amsgrad": True},
    "NAdam": {},
    "RAdam": {},
    "Adamax": {},
    "Adagrad": {},
    "Adadelta": {},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "ASGD": {},
    "Rprop": {},  # the first of its rates is the group's, and none of the later ones
    "Adafactor": {},
}


@pytest.mark.parametrize("settings", [{}, {"foreach": True}], ids=str)
@pytest.mark.parametrize("name", OF_TORCH)
def test_every_optimizer_of_torch(name, settings):
    model = network()
    chosen = groups(model)
    if name == "Rprop":
        for group in chosen:
            del group["weight_decay"]
    check_frozen(model, getattr(torch.optim, name)(chosen, **OF_TORCH[name], **settings))


def test_slopes_beside_muon():
    """It takes matrices alone."""
    model = network()
    weights, *others = groups(model)
    muon, adam = torch.optim.Muon(weights["params"], lr=0.01), torch.optim.AdamW(others)

    def both(optimizer, closure):
        closure()
        muon.step()
        optimizer.step()

    check_frozen(model, adam, both)


class Relative(Optimizer):
    """Sets its own rate, as Adafactor with relative steps does."""

    def __init__(self, params):
        super().__init__(params, {"weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad.sign(), alpha=1e-3)


def test_an_optimizer_that_ignores_the_rate_freezes_and_says_that_it_cannot_warm_up():
    model = network()
    check_frozen(model, Relative(groups(model)))
    model = network()
    optimizer = Relative(groups(model))
    SlopeSchedule(optimizer, freeze=2, warmup=3)
    with pytest.raises(SlopewiseError, match=r"Relative moved slopes at a learning rate of 0: .* warmup=0"):
        slopes_over(1, model, optimizer)
    assert (model[1].weight == 0.3).all()


@pytest.mark.parametrize("settings", [{"lr": None}, {"relative_step": True}, {"d0": 1e-6}], ids=str)
def test_rates_of_its_own_that_the_groups_tell_of(settings):
    model = network()
    optimizer = Relative(groups(model))
    optimizer.param_groups[2].update(settings)
    with pytest.raises(ValueError, match="Relative sets rates of its own"):
        SlopeSchedule(optimizer, warmup=3)
    check_frozen(model, optimizer)


class Sam(Optimizer):
    """Steps at the worst point nearby; comes back by a copy or, with rounding, by a subtraction."""

    def __init__(self, params, base, *, copies):
        super().__init__(params, {"rho": 0.3})
        self.base = base(self.param_groups)
        self.copies = copies

    @torch.no_grad()
    def first_step(self):
        self.moves = {p: 0.3 * p.grad for group in self.param_groups for p in group["params"]}
        self.old = {p: p.clone() for p in self.moves}
        for parameter, move in self.moves.items():
            parameter.add_(move)

    @torch.no_grad()
    def second_step(self):
        for parameter, move in self.moves.items():
            if self.copies:
                parameter.copy_(self.old[parameter])
            else:
                parameter.sub_(move)
        self.base.step()

    def step(self, closure=None):
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()


def in_two_steps(optimizer, closure):
    closure()
    optimizer.first_step()
    closure()
    optimizer.second_step()


def in_one_step(optimizer, closure):
    closure()
    optimizer.step(closure)


@pytest.mark.parametrize("on_base", [False, True])
@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("drive", [in_two_steps, in_one_step])
@pytest.mark.parametrize("base", [torch.optim.AdamW, Relative])
def test_sharpness_aware_minimisation(base, drive, copies, on_base):
    model = network()
    optimizer = Sam(groups(model), base, copies=copies)
    check_frozen(model, optimizer, drive, on=optimizer.base if on_base else None)


class Lookahead(Optimizer):
    """Mixes parameters with slow ones, after steps of another optimizer."""

    def __init__(self, inner):
        super().__init__(inner.param_groups, {})
        self.inner = inner
        self.slow = {p: p.detach().clone() for group in inner.param_groups for p in group["params"]}

    @torch.no_grad()
    def step(self, closure=None):
        self.inner.step()
        for parameter, slow in self.slow.items():
            slow.mul_(0.3).add_(parameter, alpha=0.7)
            parameter.copy_(slow)


class Forwarding(Optimizer):
    """Has the groups and hooks of another optimizer, as Accelerate's wrapper, and takes none of its own steps."""

    def __init__(self, inner):
        self.inner = inner

    @property
    def param_groups(self):
        return self.inner.param_groups

    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad(set_to_none)

    def step(self, closure=None):
        self.inner.step()


class Twice(torch.optim.SGD):
    """Its step is within another that is hooked, too, and decays on its own afterwards."""

    def step(self, closure=None):
        super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"])


@pytest.mark.parametrize("where", ["outer", "inner"])
@pytest.mark.parametrize("wrap", [Lookahead, Forwarding])
def test_wrappers(wrap, where):
    model = network()
    inner = torch.optim.AdamW(groups(model))
    check_frozen(model, wrap(inner), on=inner if where == "inner" else None)


def test_a_step_within_a_step_of_the_same_optimizer_is_one():
    model = network()
    check_frozen(model, Twice(groups(model)), warmup=2)


def test_a_wrapper_that_is_no_optimizer_is_refused():
    class Wrapper:
        param_groups = groups(network())

    with pytest.raises(ValueError, match=r"Wrapper does not derive from torch\.optim\.Optimizer"):
        SlopeSchedule(Wrapper(), freeze=1)


def test_lbfgs_is_refused_also_within_a_wrapper():
    model = network()
    optimizer = torch.optim.LBFGS(groups(model)[2:])
    SlopeSchedule(optimizer)  # asks for nothing
    with pytest.raises(ValueError, match="LBFGS moves all its parameters along one line"):
        SlopeSchedule(optimizer, warmup=1)
    SlopeSchedule(wrapper := Forwarding(optimizer), freeze=1)
    with pytest.raises(ValueError, match="LBFGS moves"):
        plain(wrapper, closure_of(model, wrapper))


def test_steps_of_others_do_not_count():
    model, other = network(), network()
    optimizer, second = torch.optim.SGD(groups(model)), torch.optim.SGD(groups(other))
    schedule = SlopeSchedule(optimizer, freeze=1)
    slopes_over(3, other, second)
    assert schedule.factor == 0
    slopes_over(1, model, optimizer)
    assert schedule.factor == 1


@pytest.mark.parametrize("fused", [False, True])
def test_an_overflow_is_no_step_and_nan_does_not_reach_frozen_slopes(fused):
    """A scaler steps a fused optimizer in any case, which then does nothing itself."""
    model = network()
    optimizer = torch.optim.AdamW(groups(model), fused=fused)
    schedule = SlopeSchedule(optimizer, freeze=1, warmup=1)
    scaler = torch.amp.GradScaler("cpu")
    for scale, factor in ((math.inf, 0), (1.0, 1), (math.inf, 1)):
        optimizer.zero_grad()
        scaler.scale(model(torch.randn(8, 4)).square().mean() * scale).backward()
        scaler.step(optimizer)
        scaler.update()
        assert schedule.factor == factor
    model[1].weight.grad.fill_(math.nan)
    schedule.freeze = 9
    optimizer.step()
    assert model[1].weight.isfinite().all()


def test_values_that_are_loaded_between_steps_are_frozen_from_then_on():
    model = network()
    optimizer = torch.optim.AdamW(groups(model))
    SlopeSchedule(optimizer, freeze=FREEZE)
    slopes_over(2, model, optimizer)
    loaded = {name: value + 0.125 for name, value in model.state_dict().items()}
    model.load_state_dict(loaded)
    slopes_over(2, model, optimizer)
    assert torch.equal(model[1].weight, loaded["1.weight"])


def test_bfloat16():
    model = network(torch.bfloat16)
    check_frozen(model, torch.optim.SGD(groups(model, lr=0.5)))


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own
def test_a_compiled_step():
    model = network()
    optimizer = torch.optim.AdamW(groups(model, lr=torch.tensor(0.01)))
    step = torch.compile(optimizer.step, backend="eager")

    def drive(optimizer, closure):
        closure()
        step()

    check_frozen(model, optimizer, drive)


def test_it_lives_as_long_as_its_optimizer():
    model = network()
    optimizer = torch.optim.SGD(groups(model))
    schedule = weakref.ref(SlopeSchedule(optimizer, freeze=1))
    slopes_over(1, model, optimizer)
    gc.collect()
    assert schedule() is not None
    del optimizer
    gc.collect()
    assert schedule() is None
