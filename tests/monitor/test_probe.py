"""The unit states against what an optimizer step does to the weights, and the absence of side effects."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import slopewise as sw
from slopewise.monitor import learned_slopes, probe

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


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(sorted(ACTIVATIONS)), st.lists(st.sampled_from([-30.0, 0.0, 30.0]), min_size=4, max_size=4))
def test_zero_gradient_units_are_those_whose_weights_get_none(activation: str, biases: list[float]) -> None:
    model = network(activation, biases)
    states, _ = probe(model, {"1": model[1]}, loss)
    _backward(model)
    still = (model[0].weight.grad == 0).flatten(1).all(dim=1)
    assert states[0].zero_gradient == still.float().mean().item()
    positive = (F.conv2d(IMAGES, model[0].weight, torch.tensor(biases)) > 0).any(dim=0).flatten(1).any(dim=1)
    assert states[0].never_positive == 1 - positive.float().mean().item()


def _backward(model: nn.Module) -> float:
    model.zero_grad()
    value = loss(model)
    value.backward()
    return value.item()


def test_the_same_dead_units_starve_under_relu_and_learn_under_prelu() -> None:
    dead = {}
    for activation in ("relu", "prelu"):
        model = network(activation, [-30.0, -30.0, 0.0, 0.0])
        (dead[activation],), _ = probe(model, {"1": model[1]}, loss)
    assert (dead["relu"].never_positive, dead["relu"].zero_gradient) == (0.5, 0.5)
    assert (dead["prelu"].never_positive, dead["prelu"].zero_gradient) == (0.5, 0.0)


def test_gradient_norms_are_those_of_backward() -> None:
    model = network("prelu", [0.0] * 4)
    _, gradients = probe(model, {"1": model[1]}, loss)
    _backward(model)
    expected = {n: torch.cat([p.grad.flatten() for p in model[int(n)].parameters()]).norm().item() for n in ("0", "4")}
    assert {g.layer: g.norm for g in gradients} == pytest.approx(expected)


def test_a_probe_changes_nothing() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.RReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(48, 2)
    )
    model[3].eval()  # a part that the user froze stays frozen
    _backward(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    random = torch.get_rng_state()
    probe(model, {"2": model[2]}, loss)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert [module.training for module in model] == [True, True, True, False, True, True]
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_module_applied_twice_is_one_layer_and_an_unreached_one_none() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.unused = nn.ReLU(), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(x) + self.act(-x)

    model = Twice()
    states, gradients = probe(
        model, {"act": model.act, "unused": model.unused}, lambda m: m(torch.ones(2, 3, requires_grad=True)).sum()
    )
    assert [(s.layer, s.units, s.never_positive) for s in states] == [("act", 3, 0.0)]
    assert gradients == []


def test_an_in_place_activation_is_judged_by_what_it_was_given() -> None:
    in_place, plain = network("relu", [-30.0, 0.0, 0.0, 0.0]), network("relu", [-30.0, 0.0, 0.0, 0.0])
    in_place[1] = nn.ReLU(inplace=True)
    (ours, our_gradients), (theirs, their_gradients) = (probe(m, {"1": m[1]}, loss) for m in (in_place, plain))
    assert (ours[0].never_positive, ours[0].zero_gradient) == (theirs[0].never_positive, theirs[0].zero_gradient)
    assert our_gradients == their_gradients


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
    (state,), gradients = probe(model, {"act": model.act}, lambda m: m(torch.ones(4, 2)).sum())
    assert (state.never_positive, state.zero_gradient) == (1.0, 1.0)
    assert [gradient.layer for gradient in gradients] == ["head"]


def test_the_channel_axis_is_the_activations_own() -> None:
    tokens = torch.ones(2, 5, 3, requires_grad=True) * torch.tensor([1.0, -1.0, -1.0])
    model = nn.Sequential(sw.PReLU(3, channel_dim=-1))
    (state,), _ = probe(model, {"0": model[0]}, lambda m: m(tokens).sum())
    assert (state.units, state.never_positive) == (3, pytest.approx(2 / 3))


def test_learned_slopes_are_those_of_prelu_layers() -> None:
    assert learned_slopes(sw.PReLU(2, 0.5)).tolist() == [0.5, 0.5]
    assert learned_slopes(nn.PReLU(init=0.5)).tolist() == [0.5]
    assert learned_slopes(nn.LeakyReLU()).numel() == 0
    bounded = sw.PReLU(2, bounds=(0.0, 1.0)).eval()
    torch.nn.init.constant_(bounded.weight, 3.0)
    assert learned_slopes(bounded).tolist() == [1.0, 1.0]
