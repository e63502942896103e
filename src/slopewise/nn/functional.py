"""The layers' computations as pure functions.

They wrap `slopewise.ops` with PyTorch's argument order, slopes that may be plain numbers, and clear error messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from slopewise import ops
from slopewise.nn import _explain
from slopewise.support import old_order

__all__ = ["batch_norm_add_prelu", "batch_norm_prelu", "prelu"]

_BATCH_NORM = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def _has_slope(positional: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Return True if arguments behind the input (and the residual) begin with a slope, as they once did.

    A call of today that lacks its slope is no such call, so that it raises an error: its fifth one is `training`.
    """
    return len(positional) > (0 if "running_mean" in named else 2) and not isinstance(
        dict(enumerate(positional)).get(4), bool
    )


def prelu(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    *,
    channel_dim: int = 1,
    low_memory: bool | None = False,
) -> Tensor:
    """Rectify with a learned negative slope: f(x) = x where x > 0, else a·x.

    The gradients are df/dx = 1 where x > 0, else a (so it is a at x = 0, PyTorch's convention), and df/da = 0 where
    x > 0, else x, summed over all elements that share the slope. Nothing keeps a below 1: with a > 1 this is not
    max(x, a·x).

    Args:
        input: Tensor of any shape, floating point.
        weight: Slopes a. Shape (C,) is one slope for each of the C channels of `input`, shape (1,) or () one shared
            slope. The dtype is that of `input`, except under autocast, which casts both.
        channel_dim: Dimension of `input` that holds the channels; negative values count from the end. 1 fits batches
            (N, C), (N, C, L), (N, C, H, W) and (N, C, D, H, W), -1 fits tokens (N, L, C), and -3 fits images with or
            without a batch dimension. Ignored for a shared slope.
        low_memory: If True, the output is kept for the backward pass instead of the input, provided that every slope
            lies between 2⁻¹⁰ and 2¹⁰ (in float16, 2⁻⁷ and 2³): then x is y where y > 0, else y/a. Each call decides
            from its slopes. This pays where the next layer keeps that output anyway, as a convolution does. None is
            False on a CPU where no compiled kernel takes the call, since it takes longer there, and True elsewhere.

    Returns:
        A tensor of `input`'s shape, dtype and memory format.

    Raises:
        ValueError: `weight` has more than one dimension, or its size is neither 1 nor that of `channel_dim`.
        TypeError: `input` and `weight` differ in dtype, and autocast does not cast them to one.

    Source: He et al. 2015, "Delving Deep into Rectifiers", equation 1, https://arxiv.org/abs/1502.01852.

    Example:
        >>> x = torch.tensor([[-2.0, -2.0], [3.0, 3.0]])
        >>> prelu(x, torch.tensor([0.25, 0.5]))
        tensor([[-0.5000, -1.0000],
                [ 3.0000,  3.0000]])
    """
    if has_torch_function_variadic(input, weight):  # as PyTorch's own functions: modes and subclasses see one call
        options = {"channel_dim": channel_dim, "low_memory": low_memory}
        return handle_torch_function(prelu, (input, weight), input, weight, **options)  # type: ignore[arg-type]
    try:
        return ops.prelu(input, weight, channel_dim, low_memory=low_memory)
    except (RuntimeError, IndexError):
        _explain.prelu(input, weight, channel_dim)
        raise


@old_order(
    ["input", "slope", *_BATCH_NORM],
    "the slope as the second argument of batch_norm_prelu",
    "batch_norm_prelu(input, running_mean, running_var, ..., slope=slope), the order of F.batch_norm",
    lambda args, named: "slope" not in named and _has_slope(args[1:], named),
)
def batch_norm_prelu(
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    slope: Tensor | float,
    low_memory: bool | None = False,
) -> Tensor:
    """Normalise a batch and rectify it, in one operation: y = f(z) with z = γ·(x − μ)/√(σ² + ε) + β.

    f is `prelu`: f(z) = z where z > 0, else a·z. The arguments are those of `torch.nn.functional.batch_norm`, in its
    order, followed by the slope. Values, gradients, errors and running statistics are also its own: in training μ and
    σ² are the mean and the biased variance of each channel of `input`, and the running statistics move, in place, by
    `momentum` towards μ and the *unbiased* variance; in evaluation μ and σ² are the running statistics.

    Args:
        input: Tensor of shape (N, C) or (N, C, ...), floating point.
        running_mean: Running means of shape (C,), or None for no running statistics.
        running_var: Running variances of shape (C,), or None for no running statistics.
        weight: The γ of the normalisation, shape (C,); None is 1.
        bias: The β of the normalisation, shape (C,); None is 0.
        training: If True, the input is normalised by its own statistics; otherwise by the running ones, which must be
            given.
        momentum: Weight of this batch in the running statistics.
        eps: The ε of the normalisation.
        slope: Slopes a: shape (C,) for one per channel, shape (1,) or () for a shared one; the dtype need not be that
            of `input`. A plain number is a fixed slope: 0.0 is ReLU, 0.01 is LeakyReLU, 1.0 is batch normalisation
            alone.
        low_memory: If True, the output is kept for the backward pass instead of the input, where that is safe; see
            `batch_norm_add_prelu`.

    Returns:
        A tensor of `input`'s shape, dtype and memory format.

    Raises:
        ValueError: sizes do not fit the input's channels, running statistics are missing, or training has one value
            per channel.
        TypeError: `slope` is neither a tensor nor a number.

    Source of the normalisation: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.

    Example:
        >>> x = torch.tensor([[-3.0], [-1.0], [1.0], [3.0]])
        >>> batch_norm_prelu(x, None, None, training=True, eps=4.0, slope=0.5).flatten()
        tensor([-0.5000, -0.1667,  0.3333,  1.0000])
    """
    return batch_norm_add_prelu(
        input,
        running_mean,
        running_var,
        weight,
        bias,
        training,
        momentum,
        eps,
        residual=None,
        slope=slope,
        low_memory=low_memory,
    )


@old_order(
    ["input", "residual", "slope", *_BATCH_NORM],
    "the residual and the slope as the second and third argument of batch_norm_add_prelu",
    "batch_norm_add_prelu(input, running_mean, running_var, ..., residual=residual, slope=slope)",
    lambda args, named: not {"residual", "slope"} <= named.keys() and _has_slope(args[2:], named),
)
def batch_norm_add_prelu(
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None,
    slope: Tensor | float,
    low_memory: bool | None = False,
) -> Tensor:
    """Normalise a batch, add a residual and rectify: y = f(z) with z = γ·(x − μ)/√(σ² + ε) + β + r.

    This is the end of a block in a residual network, with the shortcut r. Except for the residual it is
    `batch_norm_prelu`, whose documentation has the shapes and the rules of the other arguments.

    With `low_memory` the backward pass recomputes z and (x − μ)/√(σ² + ε) = (z − r − β)/γ from the output and the
    residual, so that the input need not be kept. Rounding limits that: the error is about the dtype's epsilon times
    (|z| + |r| + |β|)/|γ|. Each call therefore checks its values, and keeps the input after all unless every slope lies
    between 2⁻¹⁰ and 2¹⁰ and every channel has |β| + max|r| ≤ K·|γ|, with K = 512 in float32, 8 in bfloat16 and 2²⁰ in
    float64. In float16 slopes must lie between 2⁻⁷ and 2³, K is 32, and |γ| must be at least 2⁻⁷. A slope that is
    negative, near 0 or NaN never gives a wrong gradient. On another device than a CPU the check reads one truth value
    back for each call.

    Args:
        input: Tensor x of shape (N, C) or (N, C, ...), floating point.
        running_mean: Running means, or None.
        running_var: Running variances, or None.
        weight: The γ of the normalisation; None is 1.
        bias: The β of the normalisation; None is 0.
        training: If True, the input is normalised by its own statistics.
        momentum: Weight of this batch in the running statistics.
        eps: The ε of the normalisation.
        residual: Tensor r of `input`'s shape; it is not broadcast. None adds nothing.
        slope: Slopes a, or a plain number for a fixed slope.
        low_memory: If True, the output and the residual are kept for the backward pass instead of the input, where
            that is safe; None as in `prelu`.

    Returns:
        A tensor of `input`'s shape and memory format.

    Raises:
        ValueError: `residual` has another shape than `input`; or as in `batch_norm_prelu`.
        TypeError: as in `batch_norm_prelu`.

    Source of the residual: He et al. 2016, https://arxiv.org/abs/1512.03385.

    Example:
        >>> x, shortcut = torch.tensor([[-3.0], [3.0]]), torch.tensor([[-1.0], [1.0]])
        >>> batch_norm_add_prelu(x, None, None, training=True, residual=shortcut, slope=0.5).flatten()
        tensor([-1.0000,  2.0000])
    """
    if residual is not None and residual.shape != input.shape:  # PyTorch's addition would broadcast it
        raise ValueError(
            f"the residual has shape {tuple(residual.shape)} and the input {tuple(input.shape)}: they must be the same"
        )
    try:
        return ops.batch_norm_prelu(
            input,
            residual,
            slope if isinstance(slope, Tensor) else input.new_full((1,), slope),
            running_mean,
            running_var,
            weight,
            bias,
            training,
            momentum,
            eps,
            low_memory=low_memory,
        )
    except (RuntimeError, IndexError, TypeError):
        statistics = {"running_mean": running_mean, "running_var": running_var}
        _explain.batch_norm_prelu(input, slope, statistics, {"weight": weight, "bias": bias}, training)
        raise


for _name in __all__:
    torch.fx.wrap(_name)  # one node in a symbolically traced graph: its branches depend on the tensors
