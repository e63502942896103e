"""Layers that `init.kaiming` leaves alone, draws in another way, or refuses."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise import init
from slopewise.errors import ModelError

from .reports import gains


class Language(nn.Module):
    """An embedding and a head with one weight, an attention whose projection PyTorch calls by itself, a spare layer."""

    def __init__(self):
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight
        self.spare = nn.Linear(4, 4)

    def forward(self, tokens):
        return self.head(F.relu(self.body(self.embed(tokens))))


def test_layers_left_alone_are_listed_and_untouched():
    model = Language()
    before = copy.deepcopy(model.state_dict())
    report = init.kaiming(model, torch.zeros(2, 3, dtype=torch.long))
    assert [layer.name for layer in report.layers] == ["body"]
    assert dict(report.left) == {
        "head": "it shares its weight with embed (Embedding)",
        "spare": "the forward pass does not call it, or nothing uses what it gives",
    }
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"body.weight", "body.bias"}


def test_frozen_layers_and_normalisations_keep_their_values():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1)
    )
    nn.init.normal_(model[1].bias)
    model[0].weight.requires_grad_(requires_grad=False)
    model[5].bias.requires_grad_(requires_grad=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    example, state = torch.randn(2, 3, 8, 8), torch.random.get_rng_state()
    report = init.kaiming(model, example, generator=torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.random.get_rng_state())
    assert report.left == (("0", "its weight is frozen"),)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"3.weight", "3.bias", "5.weight"}
    assert model.training


def test_parametrised_weights():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(100, 100)),
        nn.PReLU(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(100, 3)),
    )
    spectral = model[2].parametrizations.weight.original.clone()
    for example in (None, torch.zeros(1, 100)):
        report = init.kaiming(model, example)
        assert [layer.name for layer in report.layers] == ["0"]
        assert report.left == (("2", "its weight is parametrised (_SpectralNorm), which need not give what is drawn"),)
    assert model[0].weight.std().item() == pytest.approx(0.1, rel=0.05)  # of 10,000 values: 7 standard errors
    assert torch.equal(model[2].parametrizations.weight.original, spectral)


def test_a_scale_without_effect_is_noted():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), sw.ConvBNPReLU(2, 2), nn.Conv2d(2, 2, 1))
    notes = {layer.name: layer.notes for layer in init.kaiming(model).layers}
    nothing = ("its scale has no effect: what it gives is normalised",)
    assert notes == {"0": nothing, "3.conv": nothing, "4": ()}


def test_generators_and_dtypes():
    model = nn.Sequential(nn.Linear(8, 64), nn.PReLU(), nn.Linear(64, 64)).bfloat16()
    init.kaiming(model, generator=torch.Generator().manual_seed(5))
    first = model[2].weight.clone()
    init.kaiming(model, generator=torch.Generator().manual_seed(5))
    assert torch.equal(model[2].weight, first)
    assert first.dtype == torch.bfloat16
    single = nn.Sequential(nn.Linear(8, 64), nn.PReLU(), nn.Linear(64, 64))
    init.kaiming(single, generator=torch.Generator().manual_seed(5))
    assert torch.equal(single[2].weight.bfloat16(), first)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act, self.head = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.act(self.layer(x))) if x.sum() > 0 else x


def test_an_example_shows_layers_that_the_graph_cannot():
    with pytest.raises(ModelError, match=r"torch.fx cannot trace Branching .*: pass example_inputs"):
        init.kaiming(Branching())
    assert gains(init.kaiming(Branching(), torch.ones(1, 3))) == {"layer": 1.0, "head": math.sqrt(2)}
    assert gains(init.kaiming(Branching(), {"x": torch.ones(1, 3)}))["head"] == math.sqrt(2)

    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(3, 3), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(torch.cat([x, F.relu(self.layer(x))], 1))

    with pytest.raises(ModelError, match="how many channels it has: pass example_inputs"):
        init.kaiming(Joined())
    assert gains(init.kaiming(Joined(), torch.ones(1, 3)))["head"] == math.sqrt(6 / (3 + 3 / 2))


def test_refusals_leave_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(3, 3), sw.PReLU(3), nn.Linear(3, 3))
    model[1].weight.data[1] = math.nan
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match="what '2' adds up has second moments with the sum nan"):
        init.kaiming(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items() if key != "1.weight")
    with pytest.raises(ValueError, match="unknown mode='fan-in'; did you mean 'fan_in'"):
        init.kaiming(model, mode="fan-in")
    with pytest.raises(ValueError, match="unknown distribution='gaussian'"):
        init.kaiming(model, distribution="gaussian")
    with pytest.raises(ModelError, match=r"'0\.weight' has no shape yet"):
        init.kaiming(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ModelError, match=r"'0\.weight' has no values \(meta device\)"):
        init.kaiming(nn.Sequential(nn.Linear(3, 3, device="meta")))
    with pytest.raises(ModelError, match="ReLU has no convolution and no linear layer"):
        init.kaiming(nn.ReLU())
