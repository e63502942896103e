"""PyTorch's own checks of an operator: its schema, its autograd registration, and fake tensors like the real ones."""

import itertools
import os
import subprocess
import sys

import pytest
import torch
from torch.library import opcheck

import slopewise as sw
from slopewise.ops import _loading

OPERATORS = torch.ops.slopewise
SHAPE = (2, 3, 4, 5)
KERNELS = _loading.asks_for_kernels(os.environ.get(_loading.SWITCH, ""))


@pytest.fixture(autouse=True)
def implementation():
    """The kernels, unless the environment turns them off; never the one by mistake for the other."""
    for name in ("prelu", "prelu_backward", "batch_norm_prelu", "batch_norm_prelu_backward"):
        compiled = torch._C._dispatch_has_kernel_for_dispatch_key(f"slopewise::{name}", "CPU")
        assert compiled == KERNELS, str(sw.ops.backend())


def rand(*shape, dtype=torch.float64):
    return torch.rand(shape, dtype=dtype) + 0.5


def layouts(dtype=torch.float64):
    x = torch.randn(SHAPE, dtype=dtype)
    return {
        "contiguous": x,
        "channels_last": x.to(memory_format=torch.channels_last),
        "transposed": x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        "gaps": torch.stack([x, x], dim=-1)[..., 0],
        "expanded": x[:1].expand(SHAPE),
    }


def learned(*tensors):
    return [None if t is None else t.detach().requires_grad_() for t in tensors]


# The last of PyTorch's checks compiles: seconds where the others take milliseconds.
QUICK = {"test_utils": ("test_schema", "test_autograd_registration", "test_faketensor")}


def optional(*shapes):
    """Every choice of giving or not giving tensors of these shapes."""
    return itertools.product(*[(None, rand(*shape)) for shape in shapes])


@pytest.mark.parametrize("slopes", [(3,), (1,), ()])
def test_prelu(slopes):
    for x in layouts().values():
        opcheck(OPERATORS.prelu.default, (*learned(x, rand(*slopes)), 1), **QUICK)
    opcheck(OPERATORS.prelu.default, (*learned(x, rand(*slopes)), 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prelu_of_other_types_along_another_dimension(dtype):
    opcheck(OPERATORS.prelu.default, (*learned(layouts(dtype)["contiguous"], rand(5, dtype=dtype)), -1))


@pytest.mark.parametrize("inverted", [False, True])
def test_prelu_backward(inverted):
    for given, slope, grad in itertools.product(layouts().values(), (rand(3), rand(1)), layouts().values()):
        opcheck(OPERATORS.prelu_backward.default, (grad, given, slope, 1, inverted), **QUICK)
    opcheck(OPERATORS.prelu_backward.default, (grad, given, rand(), 1, inverted))


@pytest.mark.parametrize("evaluation", [False, True])
def test_batch_norm_prelu(evaluation):
    statistics = (rand(3), rand(3)) if evaluation else (None, None)
    # PyTorch's own batch_norm has other strides on fake tensors than on real ones, but for its two memory formats.
    inputs = [*layouts().values()][: None if KERNELS else 2]
    for x, (residual, weight, bias) in itertools.product(inputs, optional(SHAPE, (3,), (3,))):
        x_, r, slope, w, b = learned(x, residual, rand(1) if weight is None else rand(3), weight, bias)
        arguments = x_, r, slope, *statistics, w, b, 1e-5
        opcheck(OPERATORS.batch_norm_prelu.default, arguments, **QUICK)
    opcheck(OPERATORS.batch_norm_prelu.default, arguments)


@pytest.mark.parametrize("parameters", [torch.bfloat16, torch.float32])
def test_batch_norm_prelu_of_other_types(parameters):
    slope, weight, bias = learned(*(rand(3, dtype=parameters) for _ in range(3)))
    x = layouts(torch.bfloat16)["channels_last"].requires_grad_()
    opcheck(OPERATORS.batch_norm_prelu.default, (x, None, slope, None, None, weight, bias, 1e-5))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_prelu_backward(training, inverted):
    grads = itertools.cycle([*layouts().values()][:3])  # to each layout of `given`, several
    for given, (residual, weight, bias) in itertools.product(layouts().values(), optional(SHAPE, (3,), (3,))):
        arguments = next(grads), given, residual, rand(3), rand(3), rand(3), weight, bias, training, 1e-5, inverted
        opcheck(OPERATORS.batch_norm_prelu_backward.default, arguments, **QUICK)
    opcheck(OPERATORS.batch_norm_prelu_backward.default, arguments)


@pytest.mark.slow
@pytest.mark.skipif(not KERNELS, reason="that is the process within")
def test_without_the_kernels():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no", __file__]
    environment = {**os.environ, _loading.SWITCH: "0"}
    ended = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert "1 skipped" in ended.stdout
