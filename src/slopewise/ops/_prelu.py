"""The operator for PReLU, and its autograd function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slopewise.ops import _low_memory, _reference
from slopewise.ops._library import channel_values, everywhere, library, summed_like
from slopewise.ops._routing import KERNEL_DTYPES, autocast_dtype, below_autograd, kernels_take, may_keep_output, saved

_Gradients = tuple[Tensor | None, Tensor | None, None]

# Below this number of elements the scalar backward of PyTorch's operator costs less than our autograd function written
# in Python, as measured by benchmarks/kernels.py, forward and backward together.
_SMALLEST = 8192

_op = torch.ops.slopewise.prelu.default
_backward_op = torch.ops.slopewise.prelu_backward.default


def prelu(
    input: Tensor,  # noqa: A002 (PyTorch's name)
    weight: Tensor,
    channel_dim: int = 1,
    *,
    low_memory: bool | None = False,
) -> Tensor:
    """Compute x where x > 0, else weight·x: `slopewise.nn.functional.prelu` without its error messages."""
    kernels = kernels_take(input, _SMALLEST)
    low_memory = may_keep_output(input, low_memory, kernels=kernels)
    if not kernels:
        if low_memory and _keeps_output_without_kernels(input, weight):
            slopes = weight.to(input.dtype)  # as autocast does
            return _OfOutput.apply(input, slopes, channel_dim)  # type: ignore[no-any-return, no-untyped-call]
        return _reference.prelu(input, weight, channel_dim)
    given = input, weight
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        input, weight = (t if t.dtype is torch.float64 else t.to(dtype) for t in given)  # noqa: A001
    if weight.ndim > 1 or weight.dtype is not input.dtype or input.dtype not in KERNEL_DTYPES:
        return _reference.prelu(*given, channel_dim)  # which refuses the arguments, or has a rule for them
    if torch.compiler.is_compiling():
        return _op(input, weight, channel_dim)  # type: ignore[no-any-return]
    if torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad):
        return _PReLU.apply(input, weight, channel_dim, low_memory)  # type: ignore[no-any-return, no-untyped-call]
    with below_autograd():
        return _op(input, weight, channel_dim)  # type: ignore[no-any-return]


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, channel_dim: int, low_memory: bool) -> Tensor:  # noqa: A002
        with below_autograd():
            output: Tensor = _op(input, weight, channel_dim)
        ctx.inverted = low_memory and _low_memory.slopes_are_invertible(weight, input.dtype)
        ctx.channel_dim = channel_dim
        ctx.save_for_backward(output if ctx.inverted else input, weight)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        return *_backward(ctx, grad), None


class _OfOutput(torch.autograd.Function):
    """The function by PyTorch's operations, where `_low_memory` says that the output may be kept."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, channel_dim: int) -> Tensor:  # noqa: A002
        output = _reference.prelu(input, weight, channel_dim)
        ctx.channel_dim, ctx.inverted = channel_dim, True
        ctx.save_for_backward(output, weight)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> _Gradients:
        output, weight = saved(ctx)
        return *_gradients(grad, output, weight, ctx.channel_dim, inverted=True), None


def _keeps_output_without_kernels(input: Tensor, weight: Tensor) -> bool:  # noqa: A002
    """Return True if a call by PyTorch's operations may keep its output; arguments that these refuse are theirs."""
    return (
        weight.ndim <= 1
        and (autocast_dtype(input) or weight.dtype) is input.dtype
        and _low_memory.prelu_keeps_output(input, weight, _SMALLEST)
    )


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:  # noqa: ARG001 (PyTorch's name)
    given, weight, ctx.channel_dim = inputs
    ctx.inverted = False
    ctx.save_for_backward(given, weight)


def _backward(ctx: Any, grad: Tensor) -> _Gradients:
    given, weight = saved(ctx)
    if torch.is_grad_enabled():  # a graph of the gradient is wanted: differentiable operations
        return *_gradients(grad, given, weight, ctx.channel_dim, ctx.inverted), None
    with below_autograd():
        return *_backward_op(grad, given, weight, ctx.channel_dim, ctx.inverted), None


@everywhere("prelu")
def _forward(input: Tensor, slope: Tensor, channel_dim: int) -> Tensor:  # noqa: A002
    return _reference.prelu(input, slope, channel_dim)


@everywhere("prelu_backward")
def _gradients(grad: Tensor, given: Tensor, slope: Tensor, channel_dim: int, inverted: bool) -> tuple[Tensor, Tensor]:
    axis = channel_dim if slope.numel() != 1 else 0
    a = channel_values(slope, 1.0, slope.numel(), given, axis)
    # If the output is given, this is the input as a function of it: second derivatives pass through it.
    value = torch.where(given > 0, given, given / a) if inverted else given
    grad_input = torch.where(value > 0, grad, a * grad)
    return grad_input, summed_like(torch.where(value > 0, 0.0, value * grad), slope, axis)


torch.library.register_autograd("slopewise::prelu", _backward, setup_context=_keep, lib=library)
torch.library.register_autocast("slopewise::prelu", "cpu", torch.bfloat16, lib=library)
torch.library.register_autocast("slopewise::prelu", "cuda", torch.float16, lib=library)
