"""PyTorch's own samples for prelu and batch_norm, given to these functions."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import grad

import slopewise as sw

from ..in_order import fused_add

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # private to PyTorch, and not free of warnings everywhere
    from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.usefixtures("kernels")


def entries(name):
    return [op for op in op_db if op.name == name]


def leaf(tensor):
    return tensor.detach().requires_grad_() if isinstance(tensor, torch.Tensor) else tensor  # of the same strides


def equal(one, other, **tolerances):
    torch.testing.assert_close(one, other, **{"rtol": 0, "atol": 0, "equal_nan": True, **tolerances})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16])
def test_prelu(dtype, operators, right_slope_gradient):
    by_kernels = 0
    for sample in entries("nn.functional.prelu")[0].reference_inputs("cpu", dtype, requires_grad=True):
        x, slope = inputs = tuple(map(leaf, (sample.input, *sample.args, *sample.kwargs.values())))
        dense = torch.linspace(-1, 1, x.numel(), dtype=dtype).reshape(x.shape)
        upstream = [dense, torch.ones((), dtype=dtype).expand_as(x)]
        with operators() as used:
            ours = sw.functional.prelu(x, slope)
            gradients = [grad(ours, inputs, g, retain_graph=True) for g in upstream]
        theirs = F.prelu(x, slope)
        equal(ours, theirs)
        for g, (grad_x, grad_slope) in zip(upstream, gradients, strict=True):
            expected = grad(theirs, inputs, g, retain_graph=True)
            equal(grad_x, expected[0])
            if used:
                right_slope_gradient(grad_slope, x, slope, g)
            else:
                equal(grad_slope, expected[1])
        taken = x.numel() and dtype != torch.float16
        assert used == (["prelu", "prelu_backward", "prelu_backward"] if taken else [])
        by_kernels += bool(used)
    assert by_kernels > 60 or dtype == torch.float16


# What PyTorch refuses is refused; a shared slope on a scalar that has one element too many is our own rule.
@pytest.mark.parametrize("sample", list(entries("nn.functional.prelu")[0].error_inputs("cpu")))
def test_prelu_refuses(sample):
    x, slope = (sample.sample_input.input, *sample.sample_input.args, *sample.sample_input.kwargs.values())
    with pytest.raises(ValueError, match=r"slopes do not fit an input of shape|the slopes have shape"):
        sw.functional.prelu(x, slope)


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("slopes", ["shared", "channel"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("variant", entries("nn.functional.batch_norm"), ids=lambda op: op.variant_test_name or "plain")
def test_batch_norm(variant, dtype, slopes, with_residual, operators, pair):
    tolerances = {torch.float64: {"rtol": 1e-9, "atol": 1e-9}, torch.float32: {"rtol": 1e-4, "atol": 1e-5}}[dtype]
    by_kernels = 0
    for sample in variant.sample_inputs("cpu", dtype, requires_grad=True):
        x, (mean, var, weight, bias) = leaf(sample.input), map(leaf, sample.args)
        if x.ndim == 1 and (with_residual or slopes == "channel"):
            continue  # no channels: PyTorch's batch_norm takes it where it has no elements
        channels = x.size(1) if x.ndim > 1 else 1
        slope = torch.linspace(-0.5, 1.5, channels if slopes == "channel" else 1, dtype=dtype).requires_grad_()
        residual = leaf(torch.linspace(-2, 2, x.numel(), dtype=dtype).reshape(x.shape)) if with_residual else None
        options = {"training": False, "momentum": 0.1, "eps": 1e-5, **sample.kwargs}
        runs = []
        for function in (fused_add, pair):
            statistics = [None if t is None else t.detach().clone() for t in (mean, var)]
            with operators() as used:
                y = function(x, residual, slope, *statistics, weight, bias, **options)
                learned = [t for t in (x, residual, slope, weight, bias) if t is not None]
                grads = grad(y, learned, torch.linspace(-1, 2, y.numel(), dtype=dtype).reshape(y.shape))
            runs.append((y, *grads, *statistics))
            by_kernels += used == ["batch_norm_prelu", "batch_norm_prelu_backward"]
        for ours, theirs in zip(*runs, strict=True):
            equal(ours, theirs, **tolerances)
    assert by_kernels >= 3
