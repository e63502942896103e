"""Keeping the output instead of the input: where it is done, that the gradients are the same, and where it is not."""

import math

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.autograd.graph import saved_tensors_hooks

import slopewise as sw

from ..in_order import fused_add

pytestmark = pytest.mark.usefixtures("kernels")
prelu, fused = sw.functional.prelu, fused_add
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
RATIO = {torch.float32: 512, torch.bfloat16: 8, torch.float64: 2**20}  # the documented limits


def run(function, inputs, upstream, **options):
    """The output, the gradients, and which of output and input the graph between holds."""
    inputs = [None if t is None else t.detach().requires_grad_() for t in inputs]
    storages = set()
    with saved_tensors_hooks(lambda t: storages.add(t.data_ptr()) or t, lambda t: t):
        y = function(*inputs, **options)
    holds = {name for name, t in {"output": y, "input": inputs[0]}.items() if t.data_ptr() in storages}
    return y.detach(), grad(y, [t for t in inputs if t is not None], upstream), holds


def both(function, inputs, upstream, **options):
    """Return gradients and saved tensors with low_memory=True, and gradients with False."""
    low, plain = (run(function, inputs, upstream, low_memory=low, **options) for low in (True, False))
    assert plain[2] == {"input"}
    torch.testing.assert_close(low[0], plain[0], rtol=0, atol=0, equal_nan=True)
    return low[1:], plain[1]


def as_plain(function, inputs, upstream, **options):
    """It kept the input after all, and so gives the very same gradients."""
    (ours, holds), theirs = both(function, inputs, upstream, **options)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    return holds == {"input"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_prelu_loses_nothing_but_rounding(large, dtype):
    x, upstream = large(dtype), large(dtype, 1)
    slope = torch.tensor([0.25, 1.0, 1.75, 0.001], dtype=dtype).repeat(x.size(1))[: x.size(1)]
    (ours, holds), theirs = both(prelu, [x, slope], upstream)
    assert holds == {"output"}
    assert torch.equal(ours[0], theirs[0])
    terms = torch.where(x > 0, 0, (x * upstream).double()).abs().transpose(0, 1).flatten(1).sum(1)
    # Each term has been rounded once more, to the type of the output; and the sum.
    assert ((ours[1] - theirs[1]).abs() <= 2 * torch.finfo(dtype).eps * terms).all()


def test_by_default_a_kernel_keeps_the_output(large):
    x, upstream = large(torch.float32), large(torch.float32, 1)
    assert run(prelu, [x, torch.tensor([0.25])], upstream, low_memory=None)[2] == {"output"}


@pytest.mark.parametrize("slope", [-0.25, 0.0, -0.0, 0.0009, 1e-30, math.nan, math.inf, -math.inf, 1100.0])
def test_prelu_keeps_the_input_where_a_slope_is_not_safely_positive(slope):
    x, upstream = torch.randn(2, 2, 4, 30, 30)
    x[0, 1], x[1, 2] = 0.0, -1e10
    assert as_plain(prelu, [x, torch.tensor([0.25, slope, 0.5, 1.0])], upstream)
    assert as_plain(prelu, [x, torch.tensor([slope])], upstream)


def case(dtype=torch.float32, **changed):
    """Inputs of 4 channels in the order of the function: in each, low memory is safe but for what is changed in one."""
    x, residual = torch.randn(2, 6, 4, 9, 9)
    tensors = {"x": x, "residual": residual.clamp(-2, 2), "slope": torch.tensor([0.25, 0.1, 1.5, 1.0])}
    tensors |= {"mean": torch.ones(4), "var": torch.ones(4), "weight": torch.tensor([1.0, -0.5, 2.0, 1.0])}
    tensors |= {"bias": torch.tensor([0.0, -0.5, 1.0, 2.0])}
    for name, value in changed.items():
        if value is None:
            tensors[name] = None
        elif name == "residual":
            tensors[name][3, 2, 4, 5] = value
        else:
            tensors[name][2] = value
    return [None if t is None else t.to(dtype) for t in tensors.values()]


def apply(training):
    """The fused function of those inputs that can have a gradient."""

    def function(x, residual, slope, weight, bias, low_memory):
        mean, var = 0.5 * torch.ones(2, x.size(1), dtype=x.dtype)
        return fused(x, residual, slope, mean, var, weight, bias, training, low_memory=low_memory)

    return function


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("changed", [{}, {"residual": None}, {"weight": None}, {"bias": None}, {"slope": 0.001}])
def test_batch_norm_loses_nothing_but_rounding(changed, dtype, training):
    x, residual, slope, _, _, weight, bias = case(dtype, **changed)
    (ours, holds), theirs = both(apply(training), [x, residual, slope, weight, bias], torch.randn_like(x))
    assert holds == {"output"}
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 20 * torch.finfo(dtype).eps * other.norm()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "changed",
    [
        *({"slope": value} for value in (-0.25, 0.0, 0.0009, 1100.0, math.nan, math.inf)),
        *({"weight": value} for value in (0.0, 1e-9, -1e-9, math.nan)),
        {"weight": 0.0, "bias": 0.0, "residual": None},
        *({"bias": value} for value in (2000.0, -2000.0, math.nan, math.inf)),
        *({"residual": value} for value in (2000.0, -2000.0, math.nan, -math.inf)),
    ],
    ids=str,
)
def test_batch_norm_keeps_the_input_where_inversion_would_cancel(changed, training):
    x, residual, slope, _, _, weight, bias = case(**changed)
    assert as_plain(apply(training), [x, residual, slope, weight, bias], torch.randn_like(x))


@pytest.mark.parametrize("name", ["residual", "bias"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_limit_lies_where_the_documentation_says(dtype, name):
    ratio, others = RATIO[dtype], {"residual": {"bias": None}, "bias": {"residual": None}}[name]
    for factor, expected in ((0.98, {"output"}), (1.02, {"input"})):
        changed = {name: factor * ratio * 2.0}  # 2 is that channel's weight
        x, residual, slope, _, _, weight, bias = case(dtype, **changed, **others)
        (_, holds), _ = both(apply(training=True), [x, residual, slope, weight, bias], torch.randn_like(x))
        assert holds == expected


@pytest.mark.parametrize("training", [True, False])
def test_gradcheck(training):
    x, residual, slope, _, _, weight, bias = case(torch.float64)
    inputs = [t.clone().requires_grad_() for t in (x[:2, :, :2, :2], residual[:2, :, :2, :2], slope, weight, bias)]
    assert gradcheck(lambda *tensors: apply(training)(*tensors, low_memory=True), inputs)
    assert gradcheck(lambda x, slope: prelu(x, slope, low_memory=True), [inputs[0], inputs[2]])


@pytest.mark.parametrize("training", [True, False])
def test_second_derivatives(training):
    """They reach the input through the output and the batch's variance; a slope below 0 keeps the input."""
    x, residual, slope, _, _, weight, bias = (t.double() for t in case())
    small = [t.clone().requires_grad_() for t in (x[:2, :, :1, :2], residual[:2, :, :1, :2], slope, weight, bias)]
    assert gradgradcheck(lambda x, slope: prelu(x, slope, low_memory=True), [small[0], small[2]], fast_mode=True)
    assert gradgradcheck(lambda *tensors: apply(training)(*tensors, low_memory=True), small, fast_mode=True)
    small[2] = (-slope).requires_grad_()
    assert gradgradcheck(lambda *tensors: apply(training)(*tensors, low_memory=True), small, fast_mode=True)


def test_a_gradient_penalty_is_that_of_the_input():
    def penalties(low_memory):
        x, _, slope, _, _, weight, bias = (None if t is None else t.clone().requires_grad_() for t in case())
        y = fused(x, None, slope, None, None, weight, bias, training=True, low_memory=low_memory)
        (first,) = grad((y**3).mean(), x, create_graph=True)
        return grad(first.square().sum(), [x, slope, weight, bias])

    torch.manual_seed(0)
    low = penalties(low_memory=True)
    torch.manual_seed(0)
    torch.testing.assert_close(low, penalties(low_memory=False), rtol=1e-4, atol=1e-7)


def without_residual(x, slope, low_memory):
    return fused(x, None, slope, None, None, training=True, low_memory=low_memory)


@pytest.mark.parametrize("function", [prelu, without_residual])
def test_an_output_changed_in_place_is_noticed_where_it_is_needed(function):
    x, _, slope, *_ = case()
    x.requires_grad_()
    y = function(x, slope, low_memory=True)
    y.mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation(.|\n)*set low_memory=False"):
        y.sum().backward()
    plain = function(x, slope, low_memory=False)
    (once,) = grad(plain.sum(), x, retain_graph=True)
    (twice,) = grad(plain.mul_(2).sum(), x)
    torch.testing.assert_close(twice, 2 * once)
