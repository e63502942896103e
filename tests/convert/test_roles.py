"""Roles of activations: gates, limits, activations of constants, and sites whose sign matters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise.errors import ConversionError

X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Base(nn.Module):
    """A convolution, ReLU, and something with the result; `head` takes it to two classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Linear(8, 2)
        self.side, self.side_relu = nn.Conv2d(8, 8, 1), nn.ReLU()
        self.weights = nn.Parameter(torch.randn(8))
        self.register_buffer("coordinates", torch.randn(8, 2))
        self.bias = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, x):
        return self.head(self.use(self.act(self.conv(x))).mean((2, 3)))


class PositionBias(Base):
    def use(self, x):
        return x + self.bias(self.coordinates).view(1, 8, 1, 1)


class Arange(Base):
    """Coordinates that the forward pass makes itself, from the shape alone."""

    def use(self, x):
        steps = torch.linspace(-1, 1, x.shape[1])
        return x * self.bias(torch.stack([steps, steps.square()], dim=1)).sigmoid().view(1, -1, 1, 1)


class Written(Base):
    """Data are written into zeros by way of a view."""

    def use(self, x):
        room = torch.zeros(x.shape)
        room[:, :4].add_(self.side(x)[:, :4])
        return self.side(self.side_relu(room))


class SharedModule(Base):
    """One ReLU for weights and for data."""

    def use(self, x):
        return self.act(self.side(x)) * self.act(self.weights).view(1, 8, 1, 1)


class Noise(Base):
    """Numbers drawn at random are data."""

    def use(self, x):
        return x + self.bias(torch.randn(8, 2)).view(1, 8, 1, 1)


@pytest.mark.parametrize(
    ("network", "sites", "left"),
    [
        (PositionBias, ["act"], ["bias.1"]),
        (Arange, ["act"], ["sigmoid_1", "bias.1"]),
        (Written, ["act", "side_relu"], []),
        (SharedModule, ["act", "act_2"], ["act_3"]),
        (Noise, ["act", "bias.1"], []),
    ],
)
def test_an_activation_of_constants_stays(network, sites, left):
    net = network()
    conversion = sw.convert(
        net, X, init=0.0, channel_dim={"side_relu": 1}
    )  # warnings are errors: it is said in the table alone
    assert sorted(site.name for site in conversion.sites) == sites
    no_data = [refusal.name for refusal in conversion.skipped if "depends on no data" in refusal.reason]
    assert no_data == left
    assert all("its input depends on no data" in str(conversion) for _ in left)
    assert conversion.proof.output.largest == 0


def test_one_that_is_named_is_converted_all_the_same():
    conversion = sw.convert(PositionBias(), X, only=["act", "bias.1"])
    assert {site.name for site in conversion.sites} == {"act", "bias.1"}
    assert not any(refusal.reached for refusal in conversion.skipped)


class Gate(Base):
    def __init__(self):
        super().__init__()
        self.relu6 = nn.ReLU6()

    def use(self, x):
        return x * (self.relu6(self.side(x) + 3) * (1 / 6)).expand_as(x)


class GateThatIsNotScaled(Gate):
    def use(self, x):
        return x * self.relu6(self.side(x))


class Scaled(Gate):
    """Squeeze and excitation behind a ReLU6: what is scaled is no gate."""

    def use(self, x):
        x = self.relu6(self.side(x))
        return x * torch.sigmoid(self.side(x.mean((2, 3), keepdim=True)))


def test_relu6_as_a_gate_stays_unless_it_is_named():
    for network in (Gate, GateThatIsNotScaled):
        conversion = sw.convert(network(), X)
        assert [site.name for site in conversion.sites] == ["act"]
        (refusal,) = [refusal for refusal in conversion.skipped if refusal.name == "relu6"]
        assert "it is a gate" in refusal.reason
        assert "test_roles.py:" in refusal.reason
        assert refusal.quiet
        assert {site.name for site in sw.convert(network(), X, only=["*", "relu6"]).sites} == {"act", "relu6"}
        with pytest.raises(ConversionError, match="it is a gate"):
            sw.convert(network(), X, only="relu6*")


def test_the_branch_that_a_gate_scales_is_no_gate():
    conversion = sw.convert(Scaled(), X)
    assert [(site.name, site.notes) for site in conversion.sites] == [("act", ()), ("relu6", ())]
    assert [(refusal.kind, refusal.quiet) for refusal in conversion.skipped if refusal.reached] == [("sigmoid", True)]


NEEDS = {
    "a logarithm": lambda x: torch.log(F.relu(x).sum(1, keepdim=True) + 1e-6).expand_as(x),
    "a square root": lambda x: (F.relu(x) + 1e-6).reshape(x.shape).sqrt(),
    "a power": lambda x: F.relu(x).clamp(max=10) ** 0.5,
    "a divisor": lambda x: F.relu(x) / (F.relu(x).sum(1, keepdim=True) + 1e-6),
    "a product": lambda x: x.flip(1) * F.relu(x.roll(1, 1)),
    "probabilities": lambda x: x * torch.poisson(F.relu(x)),
    "": lambda x: F.relu(x) + 1,
}


@pytest.mark.parametrize("need", NEEDS)
def test_a_site_says_where_its_sign_matters(need):
    class Net(Base):
        def use(self, x):
            return NEEDS[need](x)

    conversion = sw.convert(Net(), X, init=0.0)
    notes = [note for site in conversion.sites for note in site.notes if "sign matters" in note]
    assert bool(notes) == bool(need)
    assert all(note.startswith(f"its sign matters: it feeds {need} ") for note in notes)
    assert all("test_roles.py:" in note and note in str(conversion) for note in notes)
    assert not [note for note in conversion.sites[0].notes if "sign matters" in note]


def test_linear_attention_divides_by_what_a_product_made():
    class Attention(Base):
        def use(self, x):
            q, k = F.relu(x.flatten(2)).mT, F.relu(self.side(x).flatten(2))
            weights = q @ k
            return x * (weights / (weights.sum(2, keepdim=True) + 1e-6)).mean()

    conversion = sw.convert(Attention(), X)
    assert ["a divisor" in " ".join(site.notes) for site in conversion.sites] == [False, True, True]
