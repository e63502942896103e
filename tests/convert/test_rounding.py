"""Networks that make much of rounding, in which float32 alone seems to show a fault; and faults that stay faults."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.convert import ConversionWarning, _install
from slopewise.ops import backend

LARGE = 10 * 2**-11.5  # more than is taken for rounding in float32 without a further look
KERNELS = pytest.mark.skipif(backend().name != "kernels", reason="fused layers round as the pair does")


def normalised(channels, size=1):
    return [nn.Conv2d(channels, 16, size, padding=size // 2, bias=False), nn.BatchNorm2d(16), nn.ReLU()]


class Network(nn.Sequential):
    """A stem that is large enough for the kernels; then batch normalisation divides by the spread of three values.

    Many layers make a little more of a rounding error each; few are enough where the images are nearly the same.
    """

    def __init__(self, depth):
        torch.manual_seed(0)
        layers = [layer for _ in range(depth) for layer in normalised(16)]
        super().__init__(*normalised(3, 3), nn.AdaptiveAvgPool2d(1), *layers, nn.Flatten(), nn.Linear(16, 5))


def images(spread):
    draws = torch.Generator().manual_seed(0)
    common, own = (torch.randn(n, 3, 32, 32, generator=draws) for n in (1, 3))
    return common + spread * own


DEEP, ALIKE = (28, 1e-2), (4, 1e-4)  # layers, and how far the images are from each other
ROUNDING = pytest.mark.parametrize(
    ("depth", "spread", "dtype"),
    [(*ALIKE, torch.float32), (*DEEP, torch.float32), (12, 1.0, torch.bfloat16)],
    ids=["alike", "deep", "bfloat16"],
)


@KERNELS
@ROUNDING
def test_rounding_is_no_fault(depth, spread, dtype):
    """Warnings are errors here."""
    conversion = sw.convert(Network(depth).to(dtype), images(spread).to(dtype), fuse=True)
    assert conversion.proof.slopes.relative > 3 * torch.finfo(dtype).eps ** 0.5
    assert conversion.proof.slopes_in_float64.relative < 1e-6
    assert "by rounding: in float64 by" in str(conversion)


def test_float64_is_not_tried_where_float32_agrees():
    proof = sw.convert(Network(1), images(1.0), fuse=True).proof
    assert proof.slopes.relative < 1e-5
    assert proof.slopes_in_float64 is None


def off(output):
    return output + 0.02 * output.abs().max()


def spoilt(when, fault=off):
    """Return the fusion with a fault in its outputs where `when` says so; by default, 2 % of the largest are added."""
    fuse = _install.fuse_

    def spoil(model, flows, **options):
        def add(module, args, output):
            return fault(output) if when(module, output) else None

        fused = fuse(model, flows, **options)
        model.register_forward_hook(add)
        return fused

    return spoil


FAULTS = {
    "in training": lambda module, _: module.training,
    "in evaluation": lambda module, _: not module.training,
    "in evaluation in float32 alone": lambda module, output: not module.training and output.dtype == torch.float32,
    "in inference mode": lambda *_: torch.is_inference_mode_enabled(),
}


@pytest.mark.parametrize("when", FAULTS)
@pytest.mark.parametrize(("depth", "spread"), [(1, 1.0), ALIKE], ids=["ordinary", "alike"])
def test_rounding_excuses_no_fault(depth, spread, when, monkeypatch):
    monkeypatch.setattr(_install, "fuse_", spoilt(FAULTS[when]))
    with pytest.warns(ConversionWarning, match="look at the proof") as warned:
        conversion = sw.convert(Network(depth), images(spread), fuse=True)
    assert when.removesuffix(" in float32 alone").split()[1] in str(warned[0].message)
    assert conversion.proof.slopes_in_float64 is None


class Bypassed(nn.Module):
    """A branch of little weight, whose activation a kernel computes in inference mode, where dtypes suit it."""

    def __init__(self, dtypes):
        super().__init__()
        self.up, self.act, self.down, self.dtypes = nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 5), dtypes

    def forward(self, x):
        if torch.is_inference_mode_enabled() and x.dtype in self.dtypes:
            h = torch._addmm_activation(self.up.bias, x, self.up.weight.t())
        else:
            h = self.act(self.up(x))
        return x + 0.02 * self.down(h)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float32,)], ids=["any", "float32"])
@pytest.mark.parametrize(("depth", "spread"), [(1, 1.0), ALIKE], ids=["ordinary", "alike"])
def test_a_small_branch_whose_activation_is_bypassed_stays(depth, spread, dtypes):
    with pytest.warns(ConversionWarning, match="the code around computes the activation in another way"):
        conversion = sw.convert(nn.Sequential(Network(depth), Bypassed(dtypes)), images(spread))
    assert [refusal.name for refusal in conversion.skipped] == ["1.act"]
    assert len(conversion.sites) == 1 + depth


class Insists(nn.Module):
    def forward(self, x):
        return x.float()


@KERNELS
def test_a_network_that_runs_in_float32_alone_still_gets_the_warning():
    network = Network(ALIKE[0]).insert(3, Insists())
    with pytest.warns(ConversionWarning, match="look at the proof"):
        assert sw.convert(network, images(ALIKE[1]), fuse=True).proof.slopes_in_float64 is None


class Spectrum(nn.Module):
    """A network with complex weights and outputs, as spectral layers have."""

    def __init__(self, depth):
        super().__init__()
        self.body, self.weight = Network(depth), nn.Parameter(torch.randn(3, 5, dtype=torch.complex64))

    def forward(self, x):
        return torch.einsum("nk,mk->nm", torch.fft.rfft(self.body(x)), self.weight[:, :3])


@KERNELS
def test_complex_networks():
    torch.manual_seed(0)
    proof = sw.convert(Spectrum(ALIKE[0]), images(ALIKE[1]), fuse=True).proof
    assert proof.slopes.relative > LARGE
    assert proof.slopes_in_float64.relative < 1e-6
    assert proof.gradient is not None


@pytest.mark.parametrize("fault", [lambda output: output + 0.02j * output.abs().max(), torch.conj_physical])
def test_imaginary_parts_are_compared(fault, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(_install, "fuse_", spoilt(lambda *_: True, fault))
    with pytest.warns(ConversionWarning, match="look at the proof"):
        sw.convert(Spectrum(1), images(1.0), fuse=True)
