"""Fused layers are probed as the networks that they stand for: normalisation, addition and activation apart."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import slopewise as sw
from slopewise.monitor import Probe, learned_slopes

IMAGES, LABELS = torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1] * 3)


def loss(model):
    return F.cross_entropy(model(IMAGES), LABELS)


def probe(model):
    return Probe(model)(lambda: loss(model))


class Net(nn.Module):
    """A layer without and one with a residual; the same weights whether it is fused or not."""

    def __init__(self, slopes, shifts, *, fused=True, learnable=True, **options):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)
        self.fused = fused
        for number in (1, 2):
            layer = sw.BatchNormPReLU2d(4, num_parameters=len(slopes), init=slopes, learnable=learnable, **options)
            nn.init.uniform_(layer.weight)
            with torch.no_grad():
                layer.bias.copy_(torch.tensor(shifts))
            if fused:
                self.add_module(f"norm{number}", layer)
            else:
                norm, act = layer.unfuse()
                self.add_module(f"norm{number}", norm)
                self.add_module(f"act{number}", act)

    def forward(self, x):
        if self.fused:
            h = self.norm1(self.conv1(x))
            h = self.norm2(input=self.conv2(h), residual=h)
        else:
            h = self.act1(self.norm1(self.conv1(x)))
            h = self.act2(self.norm2(self.conv2(h)) + h)
        return self.head(h.mean((2, 3)))


@given(
    slopes=st.sampled_from([(0.25,), (0.0,), (0.0, 0.1, 0.5, -1.0)]),
    shifts=st.lists(st.sampled_from([-30.0, -1.0, 0.0, 30.0]), min_size=4, max_size=4),
    learnable=st.booleans(),
    track=st.booleans(),
)
@settings(max_examples=25)
def test_states_and_gradients_are_those_of_the_unfused_network(slopes, shifts, learnable, track):
    measured = []
    for fused in (True, False):
        model = Net(slopes, shifts, fused=fused, learnable=learnable, track_running_stats=track)
        measured.append(probe(model))
    ours, theirs = measured
    assert [site.site for site in ours.sites] == ["norm1", "norm2"]
    for mine, other in zip(ours.sites, theirs.sites, strict=True):
        if mine.pass_through != other.pass_through:  # None where no gradient arrives
            assert mine.pass_through == pytest.approx(other.pass_through, rel=1e-4)
        alike = replace(other, site=mine.site, activation="prelu", pass_through=mine.pass_through)
        assert mine == alike
    # The normalisation's gradients are recorded under its name, the slopes' apart: as for the unfused network.
    expected = {layer.layer: layer.gradient for layer in theirs.layers}
    assert {layer.layer: layer.gradient for layer in ours.layers} == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert [slopes.layer for slopes in ours.slopes] == (["norm1", "norm2"] if learnable else [])
    for mine, other in zip(ours.slopes, theirs.slopes if learnable else (), strict=True):
        assert mine.summary == other.summary
        assert mine.gradient == pytest.approx(other.gradient, rel=1e-4, abs=1e-7)


def test_a_dead_unit_is_one_that_normalisation_and_residual_leave_negative():
    model = Net((0.0,), [-30.0, -30.0, 30.0, 30.0])
    first, last = probe(model).sites
    assert (first.never_positive, first.zero_gradient) == ((0, 1), (0, 1))
    assert last.never_positive == (0, 1)
    first, last = probe(Net((0.1,), [-30.0] * 4)).sites
    assert (first.never_positive, first.zero_gradient) == ((0, 1, 2, 3), ())


def test_a_probe_of_fused_layers_changes_nothing():
    model = Net((0.25,), [0.0] * 4)
    model.norm1.eval()
    loss(model).backward()
    before, gradients = copy.deepcopy(model.state_dict()), [p.grad.clone() for p in model.parameters()]
    probe(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert (model.norm1.training, model.norm2.training) == (False, True)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_bounded_or_parametrised_slope_is_the_one_in_use():
    model = Net((0.25,), [-1.0] * 4, bounds=(0.0, 1.0))
    nn.init.constant_(model.norm1.slope, -5.0)
    nn.utils.parametrize.register_parametrization(model.norm2, "slope", nn.ReLU())
    model.norm2.parametrizations.slope.original.data.fill_(-1.0)
    sample = probe(model)
    assert [slopes.summary.median for slopes in sample.slopes] == [0.0, 0.0]
    expected = probe(Net((0.0,), [-1.0] * 4))
    assert [s.zero_gradient for s in sample.sites] == [s.zero_gradient for s in expected.sites]


def test_learned_slopes_of_fused_layers():
    assert learned_slopes(sw.BatchNormPReLU1d(2, init=0.5)).tolist() == [0.5, 0.5]
    assert learned_slopes(sw.BatchNormPReLU3d(2, num_parameters=1)).tolist() == [0.25]
    assert learned_slopes(sw.BatchNormPReLU2d(2, learnable=False)).numel() == 0
    bounded = sw.BatchNormPReLU2d(2, bounds=(0.0, 1.0))
    nn.init.constant_(bounded.slope, 3.0)
    assert learned_slopes(bounded).tolist() == [1.0, 1.0]
