"""The PReLU kernels against PyTorch: bitwise where elements stand alone, within the rounding of sums where not."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import grad

import slopewise as sw

pytestmark = pytest.mark.usefixtures("kernels")
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def both(x, slope, upstream, channel_dim=1):
    """The output and its two gradients: of the kernels, and of PyTorch."""
    x, slope = (t.detach().requires_grad_() for t in (x, slope))
    ours = sw.functional.prelu(x, slope, channel_dim=channel_dim)
    theirs = F.prelu(x.movedim(channel_dim, 0).unsqueeze(0), slope).squeeze(0).movedim(0, channel_dim)
    return [(y.detach(), *grad(y, (x, slope), upstream)) for y in (ours, theirs)]


@pytest.mark.parametrize("slopes", ["shared", "per channel"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_pieces_of_memory(large, dtype, slopes, right_slope_gradient):
    x, upstream = large(dtype), large(dtype, 1)
    slope = torch.linspace(-0.5, 1.5, x.size(1) if slopes == "per channel" else 1, dtype=dtype)
    ours, theirs = both(x, slope, upstream)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    assert ours[0].stride() == ours[1].stride() == x.stride()
    right_slope_gradient(ours[2], x, slope, upstream)


@pytest.mark.parametrize("channel_dim", [0, 2, 3, -1, -2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_in_any_dimension(dtype, channel_dim, right_slope_gradient):
    x, upstream = torch.randn(2, 7, 33, 10, 35).to(dtype)
    slope = torch.linspace(-0.5, 1.5, x.size(channel_dim), dtype=dtype)
    ours, theirs = both(x, slope, upstream, channel_dim)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    right_slope_gradient(ours[2], x, slope, upstream, channel_dim)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_of_a_million_terms_keeps_its_digits(dtype):
    x = torch.full((16, 4, 128, 128), -0.1).to(dtype)
    ours, _ = both(x, torch.tensor([0.25], dtype=dtype), torch.ones_like(x))
    exact = x[0, 0, 0, 0].double() * x.numel()
    assert abs(ours[2].double() - exact) <= 64 * torch.finfo(dtype).eps * -exact  # one by one, float32 would lose 4 %


SPECIAL = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1e-40, -1e-40, 3e38, -3e38]


@pytest.mark.parametrize("slope", [0.25, 0.0, -0.0, -1.5, 1.0, 1.75, 1e-30, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pair_of_special_values(dtype, slope):
    x, upstream = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)), dtype=dtype).T.contiguous()
    for repeats in (1, 3):  # in the remainder of the vectorised loop, and within it
        ours, theirs = both(x.repeat(repeats), torch.tensor([slope], dtype=dtype), upstream.repeat(repeats), 0)
        for one, other in zip(ours[:2], theirs[:2], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
            numbers = ~one.isnan()
            assert torch.equal(one.signbit()[numbers], other.signbit()[numbers])


@pytest.mark.parametrize(("x", "expected"), [(0.0, 0.25), (-0.0, 0.25), (1e-40, 1.0), (-1e-40, 0.25), (math.nan, 0.25)])
def test_the_gradient_at_zero_is_the_slope(x, expected):
    ours, _ = both(torch.full((70,), x), torch.tensor([0.25]), torch.ones(70), 0)
    assert torch.equal(ours[1], torch.full((70,), expected))
