"""The operator for batch normalisation, an optional residual and PReLU, and its autograd function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slopewise.ops import _low_memory, _reference
from slopewise.ops._library import channel_values, everywhere, library, summed_like
from slopewise.ops._routing import KERNEL_DTYPES, autocast_dtype, below_autograd, kernels_take, may_keep_output, saved

# Below this number of elements PyTorch's operators cost less than our autograd function written in Python, as measured
# by benchmarks/kernels.py, forward and backward together.
_SMALLEST = 8192
_HALVES = frozenset({torch.bfloat16, torch.float16})  # in which tensors go with parameters in float32

_op = torch.ops.slopewise.batch_norm_prelu.default
_backward_op = torch.ops.slopewise.batch_norm_prelu_backward.default


def batch_norm_prelu(
    input: Tensor,  # noqa: A002 (PyTorch's name)
    residual: Tensor | None,
    slope: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    low_memory: bool | None = False,
) -> Tensor:
    """Compute prelu(batch_norm(input) + residual).

    This is `slopewise.nn.functional.batch_norm_add_prelu` without its error messages.
    """
    given = input, residual, slope, running_mean, running_var, weight, bias, training
    kernels = kernels_take(input, _SMALLEST)
    low_memory = may_keep_output(input, low_memory, kernels=kernels)
    if not ((kernels or low_memory) and _fit(*given, eps)):
        return _reference.batch_norm_prelu(*given, momentum, eps)
    if not kernels:
        if _low_memory.batch_norm_keeps_output(input, residual, slope, weight, bias, _SMALLEST):
            return _OfOutput.apply(*given, momentum, eps)[0]  # type: ignore[no-any-return, no-untyped-call]
        return _reference.batch_norm_prelu(*given, momentum, eps)
    given_mean, given_var = (None, None) if training else (running_mean, running_var)
    output: Tensor
    learned = (input, residual, slope, weight, bias)
    if torch.compiler.is_compiling():  # its autograd is registered, and the compiler decides what is kept
        output, mean, var, _ = _op(input, residual, slope, given_mean, given_var, weight, bias, eps)
    elif torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in learned):
        output, mean, var = _BatchNormPReLU.apply(  # type: ignore[no-untyped-call]
            input, residual, slope, given_mean, given_var, weight, bias, eps, low_memory
        )
    else:
        with below_autograd():
            output, mean, var, _ = _op(input, residual, slope, given_mean, given_var, weight, bias, eps)
    if training and running_mean is not None and running_var is not None:
        values, mean, var = input.numel() // input.size(1), mean.detach(), var.detach()
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((var * (values / (values - 1))).to(running_var.dtype), momentum)  # the unbiased one
    return output


def _fit(
    input: Tensor,  # noqa: A002
    residual: Tensor | None,
    slope: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
) -> bool:
    """Return True if the arguments fit together so that we give what PyTorch's operators would.

    Arguments that PyTorch's operators refuse are left to them, for the sake of their errors.
    """
    if input.ndim < 2 or autocast_dtype(input) not in (None, input.dtype):
        return False  # under autocast PyTorch normalises in the input's dtype, and computes PReLU in autocast's
    channels, statistics = input.size(1), (running_mean, running_var)
    if training:
        enough = input.numel() > channels and (running_mean is None) == (running_var is None)
    else:
        enough = running_mean is not None and running_var is not None
    parameters = [tensor for tensor in (*statistics, weight, bias) if tensor is not None]
    dtypes = {tensor.dtype for tensor in parameters} - {input.dtype}
    return (
        enough
        and eps > 0
        and (residual is None or (residual.dtype is input.dtype and residual.shape == input.shape))
        and slope.ndim <= 1
        and slope.numel() in (1, channels)
        and (slope.dtype in KERNEL_DTYPES or slope.dtype is input.dtype)
        and all(tensor.ndim == 1 and tensor.numel() == channels for tensor in parameters)
        and (not dtypes or (input.dtype in _HALVES and dtypes == {torch.float32}))
    )


class _BatchNormPReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,  # noqa: A002
        residual: Tensor | None,
        slope: Tensor,
        mean: Tensor | None,
        var: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        low_memory: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.training, ctx.eps = mean is None, eps
        with below_autograd():
            output, mean, var, invertible = _op(input, residual, slope, mean, var, weight, bias, eps)
        ctx.inverted = low_memory and invertible.item()
        ctx.save_for_backward(output if ctx.inverted else input, residual, slope, mean, var, weight, bias)
        _mark(ctx, mean, var)
        return output, mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None, grad_var: Tensor | None) -> tuple[Tensor | None, ...]:
        return *_backward(ctx, grad, grad_var), None


class _OfOutput(torch.autograd.Function):
    """The function by PyTorch's operations, where `_low_memory` says that the output may be kept."""

    @staticmethod
    def forward(
        ctx: Any,
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
        ctx.training, ctx.eps, ctx.inverted = training, eps, True
        output, mean, var = _low_memory.batch_norm_prelu(
            input, residual, slope, running_mean, running_var, weight, bias, training, momentum, eps
        )
        ctx.save_for_backward(output, residual, slope, mean, var, weight, bias)
        _mark(ctx, mean, var)
        return output, mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None, grad_var: Tensor | None) -> tuple[Tensor | None, ...]:
        output, residual, slope, mean, var, weight, bias = saved(ctx)
        if torch.is_grad_enabled() or grad_var is not None:
            return *_of_output(ctx, grad, grad_var, output, residual, slope, mean, var, weight, bias), None, None
        if grad is None:
            return (None,) * 10
        grad_input, grad_residual, grad_weight, grad_bias, grad_slope = _low_memory.batch_norm_prelu_backward(
            grad, output, residual, slope, var, weight, bias, ctx.training, ctx.eps
        )
        return grad_input, grad_residual, grad_slope, None, None, grad_weight, grad_bias, None, None, None


def _mark(ctx: Any, mean: Tensor, var: Tensor) -> None:
    """Say which outputs carry gradients: beside the first, the variance if it replaces the input in `_of_output`."""
    ctx.mark_non_differentiable(*([mean] if ctx.inverted and ctx.training else [mean, var]))
    ctx.set_materialize_grads(False)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    given, residual, slope, running_mean, _, weight, bias, ctx.eps = inputs
    _, mean, var, invertible = output
    ctx.training, ctx.inverted = running_mean is None, False
    ctx.save_for_backward(given, residual, slope, mean, var, weight, bias)
    ctx.mark_non_differentiable(mean, var, invertible)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, grad_var: Tensor | None = None, *_: None) -> tuple[Tensor | None, ...]:
    given, residual, slope, mean, var, weight, bias = saved(ctx)
    if ctx.inverted and (torch.is_grad_enabled() or grad_var is not None):
        return _of_output(ctx, grad, grad_var, given, residual, slope, mean, var, weight, bias)
    if grad is None:
        return (None,) * 8
    if torch.is_grad_enabled():
        return _of_input(ctx, grad, given, residual, slope, mean, var, weight, bias)
    with below_autograd():
        grads = _backward_op(grad, given, residual, slope, mean, var, weight, bias, ctx.training, ctx.eps, ctx.inverted)
    return _placed(grads, residual, weight, bias)


def _placed(
    gradients: tuple[Tensor, ...], residual: Tensor | None, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return gradients in the order of the arguments, None for those that are missing."""
    grad_input, grad_residual, grad_weight, grad_bias, grad_slope = gradients
    return (
        grad_input,
        None if residual is None else grad_residual,
        grad_slope,
        None,
        None,
        None if weight is None else grad_weight,
        None if bias is None else grad_bias,
        None,
    )


def _of_input(ctx: Any, grad: Tensor, *kept: Any) -> tuple[Tensor | None, ...]:
    """Return gradients that carry a graph: those of PyTorch's operators, applied to the inputs again."""
    given, residual, slope, mean, var, weight, bias = kept
    running = (None, None) if ctx.training else (mean, var)
    output = _reference.batch_norm_prelu(
        given, residual, slope, running[0], running[1], weight, bias, ctx.training, momentum=0.0, eps=ctx.eps
    )
    needs = [t is not None and t.requires_grad for t in (given, residual, slope, None, None, weight, bias, None)]
    places = (given, residual, slope, None, None, weight, bias, None)
    learned = [t for t, need in zip(places, needs, strict=True) if need and t is not None]
    gradients = iter(torch.autograd.grad(output, learned, grad, create_graph=True))
    return tuple(next(gradients) if need else None for need in needs)


def _of_output(
    ctx: Any, grad: Tensor | None, grad_var: Tensor | None, output: Tensor, *kept: Any
) -> tuple[Tensor | None, ...]:
    """Return gradients that carry a graph as functions of the output and, in training, of the batch's variance.

    Together these determine the input but for its mean, on which no gradient depends. So derivatives of the gradients
    reach the input through the two, that is, through this function again: it therefore has a gradient for the variance.
    """
    residual, slope, mean, var, weight, bias = kept
    grads = _gradients(
        torch.zeros_like(output) if grad is None else grad,
        *(output, residual, slope, mean, var, weight, bias, ctx.training, ctx.eps, True),
    )
    grad_input, *others = grads
    if grad_var is not None:  # σ² is the mean of (x − μ)², and x − μ is the normalised input times √(σ² + ε)
        channels, dtype = output.size(1), var.dtype
        _, normalised = _low_memory.inverted(output.to(dtype), residual, slope, weight, bias)
        factor = channel_values(grad_var * (var + ctx.eps).sqrt(), 0.0, channels, normalised)
        grad_input = grad_input + (normalised * factor * (2 * channels / output.numel())).to(output.dtype)
    return _placed((grad_input, *others), residual, weight, bias)


@everywhere("batch_norm_prelu")
def _forward(
    input: Tensor,  # noqa: A002
    residual: Tensor | None,
    slope: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = torch.float64 if input.dtype is torch.float64 else torch.float32
    if running_mean is None or running_var is None:
        dims = [d for d in range(input.ndim) if d != 1]
        var, mean = torch.var_mean(input.to(dtype), dims, correction=0)
    else:
        mean, var = running_mean.to(dtype, copy=True), running_var.to(dtype, copy=True)
    output = _reference.batch_norm_prelu(
        input, residual, slope, running_mean, running_var, weight, bias, running_mean is None, momentum=0.0, eps=eps
    )
    return output, mean, var, torch.zeros((), dtype=torch.bool, device=input.device)


@everywhere("batch_norm_prelu_backward")
def _gradients(
    grad: Tensor,
    given: Tensor,
    residual: Tensor | None,
    slope: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
    inverted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    channels, dtype = given.size(1), mean.dtype
    source, g = given.to(dtype), grad.to(dtype)
    added = torch.zeros_like(source) if residual is None else residual.to(dtype)

    def spread(values: Tensor | None, missing: float = 0.0) -> Tensor:
        return channel_values(values, missing, channels, source)

    a, gamma, inverse_std = spread(slope), spread(weight, 1.0), spread((var + eps).rsqrt())
    if inverted:
        z, normalised = _low_memory.inverted(source, residual, slope, weight, bias)
    else:
        normalised = (source - spread(mean)) * inverse_std
        z = normalised * gamma + spread(bias) + added
    grad_z = torch.where(z > 0, g, a * g)
    grad_slope = summed_like(torch.where(z > 0, 0.0, z * g), slope)
    totals = mean.new_empty(channels)
    grad_bias, grad_weight = summed_like(grad_z, totals), summed_like(grad_z * normalised, totals)
    grad_normalised = grad_z
    if training:
        values = given.numel() / channels
        grad_normalised = grad_z - (spread(grad_bias) + normalised * spread(grad_weight)) / values
    none = given.new_empty(0, dtype=torch.float32)
    return (
        (gamma * inverse_std * grad_normalised).to(given.dtype),
        none if residual is None else grad_z.to(given.dtype),
        none.clone() if weight is None else grad_weight.to(weight.dtype),
        none.clone() if bias is None else grad_bias.to(bias.dtype),
        grad_slope,
    )


torch.library.register_autograd("slopewise::batch_norm_prelu", _backward, setup_context=_keep, lib=library)
