"""Alarms about units, gradients and numbers that are not finite: each in a training run that earns it, and in its twin
that does not; the evidence is counted again without the monitor."""

import math
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import slopewise as sw
from slopewise.monitor import ALARM_IDS, LayerSample, Monitor, Sample, SiteSample, Thresholds
from slopewise.recording.alarms import Facts, Judge


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


def numbers(text):
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?", text)]


# not-finite


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


def test_a_healthy_run_raises_nothing():
    for activation in (nn.ReLU, nn.PReLU, sw.PReLU, nn.GELU, nn.Tanh):
        assert train(mlp(activation), steps=60).alarms == (), activation


# dead-units


def killed(activation, units=9):
    model = mlp(activation)
    with torch.no_grad():
        model[2].bias[:units] = -30
    return model


def test_dead_units_are_those_whose_weights_stand_still():
    model, history = killed(nn.ReLU), []
    monitor = train(model, after=lambda step: history.append(model[2].weight.detach().clone()))
    alarm = only(monitor, "dead-units")
    assert (alarm.where, alarm.since) == ("3", 1)
    assert alarm.step == Thresholds().patience  # 256 values in each of these samples are more than enough
    still = [unit for unit in range(16) if all((w[unit] == history[0][unit]).all() for w in history)]
    assert still == list(range(9))
    assert alarm.evidence == "9 of 16 units dead: 0, 1, 2, 3, 4, 5, 6, 7 and 1 more; none of 768 values above 0"


def test_units_that_die_in_training_are_dead_since_their_weights_stopped():
    """One bad batch is enough: it pushes down whatever pushes the output up."""
    model = mlp(depth=1, width=32)
    model[2].requires_grad_(requires_grad=False)
    history = []

    def keep(step=0):
        history.append(torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach())

    with torch.no_grad():
        model[0].bias.fill_(0.1)
        model[2].weight.abs_().clamp_(min=0.05)[:, :12].neg_()
    keep()
    monitor = train(model, outlier=5, after=keep)
    last_moved = [
        max((step for step in range(1, 21) if (history[step][unit] != history[step - 1][unit]).any()), default=0)
        for unit in range(32)
    ]
    assert monitor.dead_since("1") == {unit: last + 1 for unit, last in enumerate(last_moved) if last < 20}
    assert monitor.dead_since("1") == dict.fromkeys(range(12, 32), 6)
    alarm = only(monitor, "dead-units")
    assert (alarm.where, alarm.step, alarm.since) == ("1", 8, 6)
    assert alarm.evidence.startswith("20 of 32 units dead: 12, 13, 14, 15, 16, 17, 18, 19 and 12 more; none of 768")


def test_units_of_prelu_do_not_die():
    assert "dead-units" not in ids(train(killed(nn.PReLU)))
    assert "dead-units" not in ids(train(killed(nn.ReLU, units=4)))  # a quarter is ordinary


def test_few_values_say_little():
    """With 8 values a step, units that are seldom positive look dead for some steps."""
    thresholds = Thresholds()
    alarm = only(train(killed(nn.ReLU), batch=8, steps=80), "dead-units")
    assert alarm.step == math.ceil(thresholds.values / 8)
    seldom = mlp(depth=1, width=32)
    with torch.no_grad():
        seldom[0].weight.mul_(1 / seldom[0].weight.norm(dim=1, keepdim=True))
        seldom[0].bias.fill_(-2.0)  # positive for 2.3 % of normal inputs
    monitor = train(seldom, batch=8, steps=80, lr=1e-4)
    looked = [len(sample.sites[0].dead) for sample in monitor.samples]
    assert min(looked) >= 16  # in any one step more than half of them look so
    assert ids(monitor) == set()


# linear-site


class Softplus(nn.Module):
    def forward(self, x):
        return nn.functional.softplus(x)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU])
def test_an_activation_behind_a_positive_function_is_linear(activation):
    model = mlp(activation)
    model.insert(1, Softplus())
    alarm = only(train(model), "linear-site")
    assert (alarm.where, alarm.step, alarm.since) == ("2", 3, 1)
    assert alarm.evidence == "of 768 values, 16 of 16 units none below 0"


def test_units_below_0_are_linear_with_prelu_and_not_with_elu():
    model, seen = killed(nn.PReLU, units=15), []
    model[2].register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    alarm = only(train(model), "linear-site", where="3")
    z = torch.cat(seen[: alarm.step])
    assert int((z < 0).all(0).sum()) == 15
    assert alarm.evidence == f"of {len(z)} values, 15 of 16 units none above 0"
    assert "linear-site" not in ids(train(killed(nn.ELU, units=15)))


def test_gelu_is_curved_above_0():
    model = mlp(nn.GELU)
    model.insert(1, Softplus())
    assert ids(train(model)) == set()


# starved-gradient


def test_a_deep_sigmoid_net_starves():
    model, seen = mlp(nn.Sigmoid, depth=12), []

    def look(step):
        linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        gradient = torch.tensor([math.hypot(*(p.grad.norm() for p in layer.parameters())) for layer in linear])
        weight = torch.tensor([math.hypot(*(p.detach().norm() for p in layer.parameters())) for layer in linear])
        seen.append((gradient / weight).tolist())

    alarm = only(train(model, before=look), "starved-gradient")
    assert (alarm.step, alarm.since) == (3, 1)
    ratios, names = seen[2], [name for name, layer in model.named_children() if isinstance(layer, nn.Linear)]
    starved = [
        count
        for count in range(1, 13)
        if max(ratios[:count]) < 1e-4 * sorted(ratios[count:])[(13 - count) // 2] and (13 - count) % 2
    ]
    below = names.index(alarm.where) + 1
    assert below >= max(starved)
    most, above = numbers(alarm.evidence)
    assert most == pytest.approx(max(ratios[:below]), rel=0.06)
    assert above == pytest.approx(torch.tensor(ratios[below:]).quantile(0.5).item(), rel=0.06)
    assert most < 1e-4 * above


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])
        nn.init.zeros_(self.norms[1].weight)  # the block starts as the identity: no gradient reaches its weights

    def forward(self, x):
        inner = self.first(x)
        inner = self.second(self.norms[0](inner).relu())
        return (x + self.norms[1](inner)).relu()


class Encoder(nn.Module):
    """Tokens, embedded with PyTorch's wide default, and two transformer layers."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(1000, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.layers(self.tokens((x * 100).long() % 1000)).mean(1))


def frozen():
    model = mlp(nn.Tanh, depth=6)
    model[0].requires_grad_(requires_grad=False)
    return model


def new_head():
    model = mlp(nn.Tanh, depth=6)
    nn.init.normal_(model[-1].weight, std=1e-6)
    return model


def zero_head():
    model = mlp(nn.Tanh, depth=6)
    nn.init.zeros_(model[-1].weight)
    return model


@pytest.mark.parametrize(
    "build",
    [
        frozen,
        new_head,
        zero_head,
        Encoder,
        lambda: nn.Sequential(nn.Linear(8, 16), *(Residual(16) for _ in range(6)), nn.Linear(16, 1)),
        lambda: mlp(nn.Tanh, depth=8),
    ],
    ids=["frozen", "new head", "zero head", "transformer", "zero-initialised residual", "deep tanh"],
)
def test_nets_that_do_not_starve(build):
    torch.manual_seed(0)
    assert train(build(), steps=12).alarms == ()


def test_norms_that_are_not_finite_are_no_measure_of_others():
    """Of the layers that are left, the lower ones would starve; the next sample takes up the count."""
    layers = [LayerSample(str(n), gradient, 1.0, None) for n, gradient in enumerate((1e-9, 1.0, 1.0, 1.0))]
    lost = [*layers[:3], replace(layers[3], gradient=None, not_finite=("gradient",)), LayerSample("4", 1.0, 1.0, None)]
    judge = Judge(Thresholds(ignore=("not-finite",)))
    samples = [Sample(step, 1, (), (), tuple(lost if step == 2 else layers)) for step in range(1, 5)]
    assert [len(judge.see(sample, Facts())) for sample in samples] == [0, 0, 0, 1]


# The rules as such


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 6))
def test_an_alarm_is_raised_once_when_its_state_has_lasted(states, patience):
    judge = Judge(Thresholds(patience=patience, values=1))
    found = []
    for index, dead in enumerate(states):
        units = (0,) if dead else ()
        site = SiteSample("act", "relu", 1, 10, 0.5, units, (), units, 0.5)
        found += judge.see(Sample(1 + 50 * index, 1, (site,), (), ()), Facts())
    ends = [i for i in range(patience - 1, len(states)) if all(states[i - patience + 1 : i + 1])]
    steps = [(alarm.since, alarm.step) for alarm in found]
    assert steps == [(1 + 50 * (end - patience + 1), 1 + 50 * end) for end in ends[:1]]


def test_thresholds_move_the_alarms():
    def raised(model=None, **changed):
        return ids(train(model or killed(nn.ReLU), thresholds=Thresholds(**changed)))

    assert raised() == {"dead-units"}
    assert raised(dead=0.6) == raised(values=256 * 21) == raised(patience=21) == set()
    assert raised(killed(nn.ReLU, units=1), dead=0.05) == {"dead-units"}
    assert "linear-site" not in raised(killed(nn.LeakyReLU, units=8))
    assert "linear-site" in raised(killed(nn.LeakyReLU, units=8), linear=0.5)
    assert raised(mlp(nn.Sigmoid, depth=12)) == {"starved-gradient"}
    assert raised(mlp(nn.Sigmoid, depth=12), starved=1e-12) == set()
    assert raised(ignore=("dead-units",)) == set()


def test_bad_thresholds_are_refused():
    for field in ("patience", "values", "dead", "linear", "starved", "runaway", "near_0", "near_1", "most", "stuck"):
        for wrong in (0, -1, math.nan):
            with pytest.raises(ValueError, match=f"threshold {field} must be above 0, got {wrong}"):
                Thresholds(**{field: wrong})
    with pytest.raises(ValueError, match="no alarm is called 'slope-tide'; did you mean 'slope-tied'"):
        Thresholds(ignore=("slope-tide",))
    assert Thresholds(ignore=ALARM_IDS).ignore == ALARM_IDS
