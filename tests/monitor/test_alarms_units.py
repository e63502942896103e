"""Alarms about units, `dead-units` and `linear-site`, each in a run that earns it and in its twin that does not; the
evidence is counted again without the monitor."""

import math

import pytest
import torch
from torch import nn

from slopewise.monitor import Thresholds

from .training import ids, killed, mlp, only, train


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
