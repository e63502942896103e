"""Subclasses of BatchNorm, with an activation inside or not: fused where they are proved to be no more than that."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw

X = torch.randn(4, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Renamed(nn.BatchNorm2d):
    """As some libraries name their own."""


class Inside(nn.BatchNorm2d):
    """Calls PyTorch's function and then an activation that it holds."""

    def __init__(self, channels, between=None, momentum=0.1):
        super().__init__(channels, momentum=momentum)
        self.between, self.act = between or nn.Identity(), nn.ReLU()

    def normalised(self, x):
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training:
            self.num_batches_tracked.add_(1)
            factor = 1.0 / float(self.num_batches_tracked) if self.momentum is None else factor
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, factor, self.eps
        )

    def forward(self, x):
        return self.act(self.between(self.normalised(x)))


def network(norm, *behind):
    torch.manual_seed(0)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return nn.Sequential(nn.Conv2d(3, 5, 3), norm, *behind, nn.Conv2d(5, 2, 1)).double()


def trained(model):
    """Outputs in training mode, which moves the statistics, and then in evaluation mode."""
    return [model.train()(X), model(X + 1), model.eval()(X)]


@pytest.mark.parametrize(
    ("norm", "behind", "at"),
    [
        (lambda: Inside(5), (), "1"),
        (lambda: Inside(5, momentum=None), (), "1"),
        (lambda: Renamed(5), (nn.ReLU(),), "1"),
        (lambda: Renamed(5, affine=False), (nn.Dropout(0.0), nn.ReLU()), "1"),
    ],
)
def test_it_becomes_the_fused_layer_with_its_keys(norm, behind, at):
    model = network(norm(), *behind)
    conversion = sw.convert(model, X, fuse=True, init=0.25)
    assert [(site.name, site.fused) for site in conversion.sites] == [(at, "BatchNorm")]
    layer = conversion.model[1]
    assert type(layer) is sw.BatchNormPReLU2d
    assert set(conversion.model.state_dict()) == {*model.state_dict(), "1.slope"}
    unfused = sw.convert(model, X, init=0.25).model
    for one, other in zip(trained(unfused), trained(conversion.model), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)
    assert torch.equal(layer.num_batches_tracked, unfused[1].num_batches_tracked)
    assert conversion.proof.gradient.relative < 1e-12


def test_checkpoints_of_the_original_go_on_loading():
    model = network(Inside(5))
    model[1].act = nn.PReLU(5, dtype=torch.float64)
    conversion = sw.convert(model, X, fuse=True)
    checkpoint = {
        key: torch.rand_like(value) if value.is_floating_point() else value for key, value in model.state_dict().items()
    }
    conversion.load_state_dict(checkpoint)
    assert torch.equal(conversion.model[1].slope, checkpoint["1.act.weight"])
    assert torch.equal(conversion.model[1].running_var, checkpoint["1.running_var"])


class OtherVariance(Inside):
    def normalised(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var * 2, self.weight, self.bias, self.training)


class OtherMomentum(Inside):
    def normalised(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.5)


class Clipped(Inside):
    def normalised(self, x):
        return super().normalised(x).clamp(-9, 9)


class More(Inside):
    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("seen", torch.zeros(1))


@pytest.mark.filterwarnings("ignore:1 activations stay as they are, such as 1.hardtanh_1")  # the clamp
@pytest.mark.parametrize(
    ("norm", "why"),
    [
        (lambda: OtherVariance(5), "OtherVariance computes something else than a BatchNorm2d"),
        (lambda: OtherMomentum(5), "OtherMomentum computes something else than a BatchNorm2d"),
        (lambda: Inside(5, nn.Dropout(0.5)), "Inside has a Dropout between the two"),
        (lambda: More(5), "More holds other tensors than a BatchNorm2d"),
        (lambda: Clipped(5), None),
    ],
)
def test_a_subclass_that_does_more_stays_with_the_reason(norm, why):
    conversion = sw.convert(network(norm()), X, fuse=True)
    (site,) = conversion.sites
    assert (site.name, site.fused) == ("1.act", "")
    assert [note.partition("not fused with 1: ")[2] for note in site.notes] == ([why] if why else [])
    assert conversion.proof.output.largest == 0


def test_hooks_keep_it():
    model = network(Inside(5))
    model[1].register_forward_hook(lambda module, args, output: None)
    (site,) = sw.convert(model, X, fuse=True).sites
    assert "bn has hooks" in site.notes[0]


class Frozen(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.register_buffer("scale", torch.rand(channels, 1, 1))
        self.affine = False

    def forward(self, x):
        return x * self.scale


def test_fixed_numbers_are_left_and_listed():
    (site,) = sw.convert(network(Frozen(5), nn.ReLU()), X, fuse=True).sites
    assert site.evidence == "Conv2d"
    assert site.notes == (
        "not fused with 1: no fused layer stands for Frozen, whose numbers are fixed; sw.fold can fold it for use",
    )


@pytest.mark.parametrize(
    ("statistics", "folding"),
    [
        (False, "so that sw.fold cannot fold it either"),
        (True, "in training; sw.fold can fold it for use"),
    ],
)
def test_an_instance_norm_is_left_and_folds_only_with_statistics(statistics, folding):
    norm = nn.InstanceNorm2d(5, affine=True, track_running_stats=statistics)
    conversion = sw.convert(network(norm, nn.ReLU()), X, fuse=True)
    (note,) = conversion.sites[0].notes
    assert "no fused layer stands for InstanceNorm2d, which normalises each sample by its own statistics" in note
    assert note.endswith(folding)
    assert bool(sw.fold(conversion.model, X).of("fold")) is statistics
