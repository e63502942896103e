"""Laws of the kernels over shapes, strides, types, slopes and special values: bitwise, or within derived bounds."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.autograd import grad

import slopewise as sw

from ..in_order import fused_add

pytestmark = pytest.mark.usefixtures("kernels")
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float64])
BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float64: torch.int64}
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-310, -1e-310]  # the last are 0 in float32
SLOPES = st.sampled_from([-1.5, -0.25, -0.0, 0.0, 1e-30, 0.25, 1.0, 1.75, math.inf, math.nan])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def shapes(draw, smallest=0, most=40_000):
    """Of 2 to 5 dimensions; up to a few of the pieces that the kernels cut memory into."""
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 16, 17, 33, 130]), min_size=2, max_size=5))
    shape = [max(size, smallest) for size in shape]
    while math.prod(shape) > most:
        shape[shape.index(max(shape))] //= 3
    return shape


@st.composite
def arrangements(draw, ndim, kinds=("dense", "gaps", "part", "expanded")):
    """Memory layouts: functions from a tensor to one of the same shape."""
    order, dim = draw(st.permutations(range(ndim))), draw(st.integers(0, ndim - 1))
    kind = draw(st.sampled_from(kinds))

    def arrange(x):
        if kind == "expanded" and x.numel():  # its values are other ones
            return x.narrow(dim, 0, 1).expand_as(x)
        x = x.permute(order).contiguous()
        if kind == "gaps":
            x = torch.stack([x, x], dim=-1)[..., 0]
        if kind == "part":
            x = torch.cat([x, x, x], dim=dim).narrow(dim, x.size(dim), x.size(dim))
        return x.permute(*np.argsort(order))

    return arrange


def random(shape, dtype, seed, special=()):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    if special:
        chosen = torch.tensor(special, dtype=torch.float64)[torch.randint(len(special), shape, generator=generator)]
        x = torch.where(torch.rand(shape, generator=generator) < 0.1, chosen, x)
    return x.to(dtype)


def same(one, other):
    """The same bits, and so the same sign of zero, but any bits of NaN."""
    assert one.shape == other.shape
    assert torch.equal(one.isnan(), other.isnan())
    one, other = (torch.where(t.isnan(), 0, t).contiguous().view(BITS[t.dtype]) for t in (one, other))
    assert torch.equal(one, other)


@given(st.data(), shapes(), DTYPES, st.lists(st.sampled_from(SPECIAL), max_size=4), SEEDS)
def test_prelu_is_bitwise_that_of_pytorch(right_slope_gradient, data, shape, dtype, special, seed):
    x = data.draw(arrangements(len(shape)))(random(shape, dtype, seed, special)).requires_grad_()
    upstream = data.draw(arrangements(len(shape)))(random(shape, dtype, seed + 1, special))
    channel_dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    count = data.draw(st.sampled_from([1, shape[channel_dim]]))
    few = data.draw(st.lists(SLOPES, min_size=1, max_size=4))
    slope = torch.tensor((few * count)[:count], dtype=dtype, requires_grad=True)
    ours = sw.functional.prelu(x, slope, channel_dim=channel_dim)
    theirs = F.prelu(x.movedim(channel_dim, 0).unsqueeze(0), slope).squeeze(0).movedim(0, channel_dim)
    same(ours, theirs)
    (grad_x, grad_slope), expected = (grad(y, (x, slope), upstream) for y in (ours, theirs))
    same(grad_x, expected[0])
    right_slope_gradient(grad_slope, x, slope, upstream, channel_dim)


@given(st.data(), shapes(), DTYPES, SEEDS)
def test_no_term_of_the_slope_gradient_is_lost_or_taken_twice(data, shape, dtype, seed):
    x, upstream = ((3 * random(shape, torch.float64, seed + n)).round().to(dtype) for n in range(2))
    x, upstream = (data.draw(arrangements(len(shape)))(t) for t in (x, upstream))
    channel_dim = data.draw(st.integers(0, len(shape) - 1))
    slope = torch.ones(data.draw(st.sampled_from([1, shape[channel_dim]])), dtype=dtype, requires_grad=True)
    sw.functional.prelu(x, slope, channel_dim=channel_dim).backward(upstream)
    terms = torch.where(x > 0, 0, x.long() * upstream.long())  # whose sums are exact in every order
    exact = terms.sum() if slope.numel() == 1 else terms.movedim(channel_dim, 0).flatten(1).sum(1)
    assert torch.equal(slope.grad, exact.to(dtype).reshape(slope.shape))


# Of the greatest value in a tensor and of 1; where z is this close to 0, either side of the kink is right.
CLOSE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1}


@given(st.data(), shapes(smallest=1, most=20_000), DTYPES, SEEDS)
def test_batch_norm_prelu_is_that_of_pytorch_in_float64(pair, data, shape, dtype, seed):
    training, low_memory, shared, *given_ = (data.draw(st.booleans()) for _ in range(6))
    assume(math.prod(shape) >= 8 * shape[1] or not training)  # else a variance may be 0 by chance
    arrange = data.draw(arrangements(len(shape), ("dense", "gaps", "part")))
    x = arrange(random(shape, dtype, seed) + data.draw(st.sampled_from([0, 3])))
    residual, upstream = (data.draw(arrangements(len(shape)))(random(shape, dtype, seed + n)) for n in (1, 2))
    weight, bias, slope, mean = (random(shape[1:2], dtype, seed + n) for n in (3, 4, 5, 6))
    weight, slope = weight.sign() * (0.5 + weight.abs()), slope[:1] if shared else slope
    choose = zip((residual, weight, bias), given_, strict=True)
    residual, weight, bias = (t if is_given else None for t, is_given in choose)
    inputs = x, residual, slope, mean, mean.abs() + 0.5, weight, bias

    def run(function, inputs, **options):
        x, residual, slope, mean, var, weight, bias = (None if t is None else t.detach() for t in inputs)
        learned = [t.requires_grad_() for t in (x, residual, slope, weight, bias) if t is not None]
        mean, var = mean.clone(), var.clone()
        y = function(x, residual, slope, mean, var, weight, bias, training, **options)
        return [y.detach(), *grad(y, learned, upstream.to(y.dtype)), mean, var]

    exact = [None if t is None else t.double() for t in inputs]
    z = pair(*exact[:2], torch.ones(1).double(), *(t.clone() for t in exact[3:5]), *exact[5:], training)
    upstream = torch.where(z.abs() <= CLOSE[dtype], 0, upstream)
    results = run(fused_add, inputs, low_memory=low_memory)
    for ours, theirs in zip(results, run(pair, exact), strict=True):
        assert (ours - theirs).abs().max() <= CLOSE[dtype] * (1 + theirs.abs().max())
