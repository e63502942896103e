"""The unit states against what an optimizer step does to the weights, and the absence of side effects."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import slopewise as sw
from slopewise.monitor import Monitor, Probe, learned_slopes

ACTIVATIONS = {
    "relu": lambda channels: nn.ReLU(),
    "prelu": lambda channels: sw.PReLU(channels, 0.25),
    "zero_slope": lambda channels: sw.PReLU(channels, 0.0),
    "silu": lambda channels: nn.SiLU(),
}


def network(activation: str, biases: list[float]) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), ACTIVATIONS[activation](4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor(biases))
    return model


IMAGES, LABELS = torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1] * 3)


def loss(model: nn.Module) -> torch.Tensor:
    return F.cross_entropy(model(IMAGES), LABELS)


def probe(model: nn.Module, of=loss):
    return Probe(model)(lambda: of(model))


def never(site) -> float:
    return len(site.never_positive) / site.units


def zero(site) -> float:
    return len(site.zero_gradient) / site.units


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(sorted(ACTIVATIONS)), st.lists(st.sampled_from([-30.0, 0.0, 30.0]), min_size=4, max_size=4))
def test_zero_gradient_units_are_those_whose_weights_get_none(activation: str, biases: list[float]) -> None:
    model = network(activation, biases)
    (site,) = probe(model).sites
    _backward(model)
    still = (model[0].weight.grad == 0).flatten(1).all(dim=1)
    assert site.zero_gradient == tuple(still.nonzero().flatten().tolist())
    positive = (F.conv2d(IMAGES, model[0].weight, torch.tensor(biases)) > 0).any(dim=0).flatten(1).any(dim=1)
    assert site.never_positive == tuple((~positive).nonzero().flatten().tolist())


def _backward(model: nn.Module) -> float:
    model.zero_grad()
    value = loss(model)
    value.backward()
    return value.item()


def test_the_same_dead_units_starve_under_relu_and_learn_under_prelu() -> None:
    dead = {}
    for activation in ("relu", "prelu"):
        model = network(activation, [-30.0, -30.0, 0.0, 0.0])
        (dead[activation],) = probe(model).sites
    assert (dead["relu"].never_positive, dead["relu"].zero_gradient, dead["relu"].dead) == ((0, 1),) * 3
    assert (dead["prelu"].never_positive, dead["prelu"].zero_gradient, dead["prelu"].dead) == ((0, 1), (), ())


def test_gradient_norms_are_those_of_backward() -> None:
    model = network("prelu", [0.0] * 4)
    sample = probe(model)
    _backward(model)
    expected = {n: torch.cat([p.grad.flatten() for p in model[int(n)].parameters()]).norm().item() for n in ("0", "4")}
    assert {layer.layer: layer.gradient for layer in sample.layers} == pytest.approx(expected)
    assert sample.slopes[0].gradient == pytest.approx(model[1].weight.grad.norm().item())


def test_a_probe_changes_nothing() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.RReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(48, 2)
    )
    model[3].eval()  # a part that the user froze stays frozen
    _backward(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    random = torch.get_rng_state()
    assert [site.site for site in probe(model).sites] == ["2"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert [module.training for module in model] == [True, True, True, False, True, True]
    assert not any(m._forward_pre_hooks or m._forward_hooks or m._backward_hooks for m in model.modules())


def test_a_module_applied_twice_is_two_sites_and_an_unreached_one_none() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.unused, self.head = nn.ReLU(), nn.ReLU(), nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(x) + self.act(-x)

    sample = probe(Twice(), lambda m: m(torch.ones(2, 3, requires_grad=True)).sum())
    assert [(s.site, s.units, never(s)) for s in sample.sites] == [("act", 3, 0.0), ("act (2)", 3, 1.0)]
    assert [layer.gradient for layer in sample.layers] == [None]


def test_an_in_place_activation_is_judged_by_what_it_was_given() -> None:
    in_place, plain = network("relu", [-30.0, 0.0, 0.0, 0.0]), network("relu", [-30.0, 0.0, 0.0, 0.0])
    in_place[1] = nn.ReLU(inplace=True)
    ours, theirs = probe(in_place), probe(plain)
    assert ours.sites == theirs.sites
    assert ours.layers == theirs.layers


def test_frozen_weights_and_keyword_calls_are_no_obstacle() -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Linear(2, 3).requires_grad_(requires_grad=False)
            self.act, self.head = nn.ReLU(), nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.act(input=self.frozen(x)))

    model = Keyword()
    nn.init.constant_(model.frozen.bias, -1e3)
    sample = probe(model, lambda m: m(torch.ones(4, 2)).sum())
    (site,) = sample.sites
    assert (never(site), site.zero_gradient, site.pass_through) == (1.0, None, None)  # no gradient can flow
    assert [layer.layer for layer in sample.layers] == ["head"]


def test_the_channel_axis_is_the_activations_own() -> None:
    tokens = torch.ones(2, 5, 3, requires_grad=True) * torch.tensor([1.0, -1.0, -1.0])
    model = nn.Sequential(sw.PReLU(3, channel_dim=-1))
    (site,) = probe(model, lambda m: m(tokens).sum()).sites
    assert (site.units, site.never_positive) == (3, (1, 2))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_monitor_that_counts_evaluation_says_the_same(activation: str) -> None:
    model = network(activation, [-30.0, 0.0, 0.0, 30.0]).eval()
    sample = Probe(model)(lambda: loss(model), step=1)
    with Monitor(model, every=1, evaluation=True) as monitor:
        _backward(model)
    (theirs,) = monitor.samples
    assert sample.sites == theirs.sites
    assert [layer.layer for layer in sample.layers] == ["0", "4"]
    for ours, other in zip((*sample.layers, *sample.slopes), (*theirs.layers, *theirs.slopes), strict=True):
        assert ours.gradient == pytest.approx(other.gradient)
    assert (sample.step, sample.passes) == (theirs.step, theirs.passes)


def test_a_loss_may_run_the_model_twice_or_fail() -> None:
    model = network("relu", [0.0] * 4)
    once, twice = probe(model), probe(model, lambda m: loss(m) + loss(m))
    assert (once.passes, twice.passes) == (1, 2)
    assert twice.sites[0].values == 2 * once.sites[0].values
    with pytest.raises(RuntimeError, match="channels"):
        probe(model, lambda m: m(torch.ones(1, 2, 6, 6)).sum())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert model.training
    assert probe(model).sites == once.sites


def test_learned_slopes_are_those_of_prelu_layers() -> None:
    assert learned_slopes(sw.PReLU(2, 0.5)).tolist() == [0.5, 0.5]
    assert learned_slopes(nn.PReLU(init=0.5)).tolist() == [0.5]
    assert learned_slopes(nn.LeakyReLU()).numel() == 0
    bounded = sw.PReLU(2, bounds=(0.0, 1.0)).eval()
    torch.nn.init.constant_(bounded.weight, 3.0)
    assert learned_slopes(bounded).tolist() == [1.0, 1.0]
