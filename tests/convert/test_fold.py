"""`fold` as a whole: the layers that it folds, those that it leaves, and its report."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise.convert import fold
from slopewise.errors import ConversionError


def spread(model):
    """Batch normalisation as after training."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


class Block(nn.Module):
    """One ReLU at two places, a residual, and an activation of each of two other kinds."""

    def __init__(self, slope=None):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True) if slope is None else nn.LeakyReLU(slope, inplace=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(x + self.bn2(self.conv2(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def x():
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("to", ["prelu_channel", "prelu_shared"])
def test_it_un_converts(fuse, to, x):
    net = spread(Block())
    converted = sw.convert(net, x, init=0.0, fuse=fuse, to=to).model
    folding = fold(converted, x, batch_norm=False)
    assert torch.equal(folding.model(x), net(x))
    kinds = [type(module) for module in folding.model.modules()]
    assert kinds.count(nn.ReLU) == 2
    assert not any(issubclass(kind, (nn.PReLU, sw.nn._batch_norm_prelu.BatchNormPReLU)) for kind in kinds)
    assert len(folding.of("unfuse")) == 2 * fuse
    assert sum(p.numel() for p in folding.model.parameters()) == sum(p.numel() for p in net.parameters())
    torch.testing.assert_close(fold(converted, x).model(x), net(x))


@pytest.mark.parametrize("fuse", [False, True])
def test_other_slopes_become_what_they_were(fuse, x):
    net = spread(Block(0.25))
    folding = fold(sw.convert(net, x, fuse=fuse).model, x, batch_norm=False)
    slopes = [m.negative_slope for m in folding.model.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.25, 0.25]
    assert torch.equal(folding.model(x), net(x))


def test_an_activation_that_was_written_over_its_input_is_again(x):
    class ReadAgain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.other = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = self.conv(x)
            return self.other(self.act(x)) + x

    net = ReadAgain().eval()
    folding = fold(sw.convert(net, x, init=0.0).model, x)
    assert str(folding.model.act) == "ReLU(inplace=True)"
    assert torch.equal(folding.model(x), net(x))


def test_both_steps_together_against_the_formula(x):
    """Conv, BatchNorm and PReLU by hand, in float64."""
    net = spread(sw.convert(Block(), x, init=0.25).model.double())
    x = x.double()
    sites = [m for m in net.modules() if isinstance(m, sw.PReLU)]
    nn.init.constant_(sites[0].weight, 0.125)
    nn.init.uniform_(sites[1].weight, 0.1, 0.9)

    def normalised(y, bn):
        mean, scale = bn.running_mean, bn.weight / (bn.running_var + bn.eps).sqrt()
        return (y - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + bn.bias.view(1, -1, 1, 1)

    y = F.conv2d(x, net.conv1.weight, padding=1)
    y = F.leaky_relu(normalised(y, net.bn1), 0.125)
    z = y + normalised(F.conv2d(y, net.conv2.weight, net.conv2.bias, padding=1), net.bn2)
    z = torch.where(z > 0, z, sites[1].weight.view(1, -1, 1, 1) * z)
    expected = z.mean((2, 3)) @ net.head.weight.T + net.head.bias
    folding = fold(net, x)
    torch.testing.assert_close(folding.model(x), expected, rtol=1e-12, atol=1e-12)
    assert [(s.kind, s.name) for s in folding.steps] == [("fold", "bn1"), ("fold", "bn2"), ("settle", "relu")]
    assert [refusal.reason.split(",")[0] for refusal in folding.skipped] == ["its slopes"]
    assert folding.removed == (8 - 4) + 8 + 4


def test_the_model_given_is_left_and_the_new_one_is_its_own(x):
    net = sw.convert(Block(), x, init=0.0, fuse=True).model.train()
    state, modes = copy.deepcopy(net.state_dict()), {name: m.training for name, m in net.named_modules()}
    random = torch.get_rng_state()
    folding = fold(net, x)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert {name: m.training for name, m in net.named_modules()} == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(m.training for m in folding.model.modules())
    assert isinstance(folding.model, Block)
    assert [name for name, _ in folding.model.named_children()] == [name for name, _ in net.named_children()]
    shared = {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in folding.model.parameters()}
    assert not shared
    again = pickle.loads(pickle.dumps(folding.model))
    assert torch.equal(again(x), folding.model(x))


def test_the_model_may_be_a_single_layer(x):
    assert isinstance(fold(sw.PReLU(3, 0.0), x).model, nn.ReLU)
    assert isinstance(fold(sw.BatchNormPReLU2d(3, init=0.0), x).model[1], nn.ReLU)


def test_wrappers_are_seen_through(x):
    net = spread(Block())
    wrapped = fold(nn.DataParallel(net), x)
    assert isinstance(wrapped.model, nn.DataParallel)
    assert wrapped.steps[0].name == "module.bn1"
    assert isinstance(wrapped.model.module.bn1, nn.Identity)
    compiled = fold(torch.compile(net, backend="eager"), x)
    assert isinstance(compiled.model, Block)
    assert "torch.compile" in compiled.notes[0]


def test_arguments_of_any_form(x):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = spread(Block())

        def forward(self, image, *, scale):
            return {"logits": self.block(image) * scale, "scale": scale}

    folding = fold(Two(), {"image": x, "scale": torch.tensor(2.0)})
    assert len(folding.of("fold")) == 2


def test_the_table(x):
    net = sw.convert(spread(Block()), x, init=0.0, fuse=True).model
    nn.init.constant_(net.bn1.slope, -1.0)
    lines = str(fold(net, x)).splitlines()
    assert lines[0] == ("2 fused layers taken apart, 2 normalisations folded, 1 PReLUs settled; -16 parameters")
    assert lines[2].split() == ["step", "layer", "was", "became", "parameters", "outputs", "changed", "by"]
    assert lines[4].split()[:6] == ["unfuse", "bn1", "BatchNormPReLU2d", "BatchNorm2d", "+", "PReLU"]
    assert lines[6].split()[:7] == ["fold", "bn1.0", "BatchNorm2d", "part", "of", "conv1", "-4"]
    assert lines[8].split() == ["settle", "bn2.1", "PReLU(4)", "ReLU()", "-4", "0"]
    rest = "\n".join(lines[9:])
    assert "left as they are:\n  bn1 (PReLU): its slope -1 is not between 0 and 1\n" in rest
    assert "settling slopes: 0; 0.0001 of it is allowed" in rest
    assert str(fold(nn.Linear(3, 2), torch.randn(2, 3))) == "nothing to fold"


def test_switches(x):
    net = sw.convert(spread(Block()), x, init=0.0).model
    assert {s.kind for s in fold(net, x, batch_norm=False).steps} == {"settle"}
    assert {s.kind for s in fold(net, x, slopes=False).steps} == {"fold"}
    neither = fold(net, x, batch_norm=False, slopes=False)
    assert neither.steps == neither.skipped == ()
    assert torch.equal(neither.model(x), net(x))


class TrainingOnly(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        if not self.training:
            raise NotImplementedError("only losses are computed")
        return self.linear(x)


class Nothing(nn.Module):
    def forward(self, x):
        return None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TrainingOnly(), "does not run on example_inputs in evaluation mode.*only losses are computed"),
        (nn.Linear(4, 4), "does not run on example_inputs.*mat1 and mat2"),
        (Nothing(), "returns no tensor"),
        (nn.Linear(3, 3, device="meta"), "meta device"),
        (nn.LazyLinear(3), "not initialised yet"),
    ],
)
def test_layers_that_cannot_be_folded_are_listed(model, message):
    with pytest.raises(ConversionError, match=message):
        fold(model, torch.randn(2, 3))


@pytest.mark.parametrize("tolerance", [-1e-9, float("nan"), float("inf"), "0.1", True, None])
def test_tolerances(tolerance):
    with pytest.raises(ValueError, match="tolerance must be a number from 0 on"):
        fold(nn.Linear(3, 3), torch.randn(2, 3), tolerance=tolerance)


def test_no_module():
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got function"):
        fold(lambda x: x, torch.randn(2, 3))
