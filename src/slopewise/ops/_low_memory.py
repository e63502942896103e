"""Keeping the output instead of the input by PyTorch's own operations, for calls that no kernel takes.

The rule by which such a call keeps its output, and the forward and backward passes of batch normalisation and PReLU.
The compiled kernels have the same rule for their dtypes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.ops._library import channel_values, summed_like
from slopewise.ops._routing import is_eager

_Gradients = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor]


class _Limits(NamedTuple):
    """Values of a dtype between which the function is inverted.

    Attributes:
        lowest: Smallest slope.
        highest: Largest slope.
        ratio: Largest (|β| + max|r|)/|γ| of a channel.
        gamma: Smallest |γ|; it is never 0.
    """

    lowest: float
    highest: float
    ratio: float
    gamma: float


# Inverting divides by the slope: within these bounds no input of ordinary size is lost to overflow or underflow of the
# output, and the error is no larger than the output's rounding. float16 has so few exponents that more is needed.
_LIMITS = {
    torch.float64: _Limits(2.0**-10, 2.0**10, 2.0**20, 0.0),
    torch.float32: _Limits(2.0**-10, 2.0**10, 2.0**9, 0.0),
    torch.bfloat16: _Limits(2.0**-10, 2.0**10, 2.0**3, 0.0),
    torch.float16: _Limits(2.0**-7, 2.0**3, 2.0**5, 2.0**-7),
}


def prelu_keeps_output(input: Tensor, slopes: Tensor, smallest: int) -> bool:  # noqa: A002 (PyTorch's name)
    """Return True if PReLU without a kernel may keep its output: the call is plain, and the slopes are safe."""
    return _is_recorded(input, smallest, input, slopes) and slopes_are_invertible(slopes, input.dtype)


def slopes_are_invertible(slopes: Tensor, dtype: torch.dtype) -> bool:
    """Return True if all slopes are safely above 0 for tensors of a dtype; False for NaN."""
    limits, slopes = _LIMITS[dtype], slopes.detach()
    return slopes.is_meta or bool(((slopes >= limits.lowest) & (slopes <= limits.highest)).all())


def batch_norm_keeps_output(
    input: Tensor,  # noqa: A002
    residual: Tensor | None,
    slope: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    smallest: int,
) -> bool:
    """Return True if a call without a kernel may keep its output, as the documentation of `low_memory` says.

    It follows from the parameters and the residual alone, before anything is computed. On another device than a CPU
    one truth value is read back for it. Nothing that is remembered from an earlier call could replace that: code that
    writes to `parameter.data`, as some optimizers do, leaves no trace, and a slope below 0 would give wrong gradients.
    Without values, on the meta device, nothing can be wrong.
    """
    if not _is_recorded(input, smallest, input, residual, slope, weight, bias):
        return False
    if input.is_meta:
        return True
    limits, dtype = _LIMITS[input.dtype], torch.float64 if input.dtype is torch.float64 else torch.float32
    slopes = slope.detach()
    in_bounds = ((slopes >= limits.lowest) & (slopes <= limits.highest)).all()
    gamma = input.new_ones((), dtype=dtype) if weight is None else weight.detach().abs().to(dtype)
    added = torch.zeros_like(gamma) if bias is None else bias.detach().abs().to(dtype)
    if residual is not None:
        dims = [d for d in range(residual.ndim) if d != 1]
        added = added + torch.linalg.vector_norm(residual.detach(), float("inf"), dims).to(dtype)
    # Written so that a NaN anywhere says no.
    separable = (added <= limits.ratio * gamma) & (gamma >= limits.gamma) & (gamma > 0)
    return bool(in_bounds & separable.all())


def _is_recorded(input: Tensor, smallest: int, *learned: Tensor | None) -> bool:  # noqa: A002
    """Return True if autograd records a plain call, for which a function of ours can stand, on enough elements."""
    return (
        torch.is_grad_enabled()
        and any(tensor is not None and tensor.requires_grad for tensor in learned)
        and is_eager(input)
        and input.dtype in _LIMITS
        and not _is_captured(input)
        and input.numel() >= smallest  # last: a tracer must not be asked for a size
    )


def _is_captured(input: Tensor) -> bool:  # noqa: A002
    """Return True while a CUDA graph is captured, in which nothing can be read back."""
    return input.is_cuda and torch.cuda.is_current_stream_capturing()


def batch_norm_prelu(
    input: Tensor,  # noqa: A002
    residual: Tensor | None,
    slope: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what `_reference.batch_norm_prelu` does, and the mean and variance that it normalised by."""
    if weight is None and bias is not None:
        weight = torch.ones_like(bias)
    normalised, mean, inverse_std = torch.native_batch_norm(
        input, weight, bias, running_mean, running_var, training, momentum, eps
    )
    dtype = torch.float64 if input.dtype is torch.float64 else torch.float32
    if training or running_mean is None or running_var is None:
        mean, var = mean.to(dtype), inverse_std.to(dtype).pow(-2) - eps
    else:
        mean, var = running_mean.to(dtype, copy=True), running_var.to(dtype, copy=True)
    summed = normalised if residual is None else normalised.add_(residual)
    return F.prelu(summed, slope.to(summed.dtype)), mean, var


def inverted(
    y: Tensor, residual: Tensor | None, slope: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return z and the normalised input, given the output in the dtype to compute in."""
    channels = y.size(1)
    z = torch.where(y > 0, y, y / channel_values(slope, 1.0, channels, y))
    added = z if residual is None else z - residual.to(y.dtype)
    normalised = (added - channel_values(bias, 0.0, channels, y)) / channel_values(weight, 1.0, channels, y)
    return z, normalised


def batch_norm_prelu_backward(
    grad: Tensor,
    output: Tensor,
    residual: Tensor | None,
    slope: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
) -> _Gradients:
    """Return the gradients of input, residual, weight, bias and slope, given the output."""
    channels, dtype = output.size(1), var.dtype
    y, g = output.to(dtype), grad.to(dtype)
    slopes = slope.to(dtype)
    gamma = torch.ones_like(var) if weight is None else weight.to(dtype)
    beta = torch.zeros_like(var) if bias is None else bias.to(dtype)
    # torch.where would be shorter, and takes three times as long as other elementwise operations on a CPU. One of the
    # two parts is 0 in every element, so that their sum is exact; with a difference in place of the second, an infinite
    # gradient, as too large a loss scale makes it, would become NaN. z has the sign of y.
    grad_z = torch.ops.aten.threshold_backward(g, y, 0.0)
    rest = g.masked_fill(y > 0, 0.0)
    grad_z.addcmul_(rest, channel_values(slopes, 1.0, channels, y))
    z = F.prelu(y, slopes.reciprocal())
    grad_slope = summed_like(rest * z, slope)
    del rest
    if residual is not None:
        z.sub_(residual.to(dtype))
    scale = gamma * (var + eps).rsqrt()
    if training:
        # z − r as the input of a normalisation by β and γ: (z − r − β)/γ is x̂, the normalised input of this one.
        grad_input, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad_z, z, scale * gamma, None, None, beta, gamma.reciprocal(), training, eps, [True, True, True]
        )
    else:
        z.sub_(channel_values(beta, 0.0, channels, y)).div_(channel_values(gamma, 1.0, channels, y))
        grad_input = grad_z * channel_values(scale, 1.0, channels, y)
        grad_weight, grad_bias = summed_like(grad_z * z, var), summed_like(grad_z, var)
    return (
        grad_input.to(output.dtype),
        None if residual is None else grad_z.to(output.dtype),
        None if weight is None else grad_weight.to(weight.dtype),
        None if bias is None else grad_bias.to(bias.dtype),
        grad_slope,
    )
