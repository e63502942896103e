"""The mathematics of the layers, as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["prelu"]


def prelu(input: Tensor, weight: Tensor, *, channel_dim: int = 1) -> Tensor:  # noqa: A002 (PyTorch's name)
    """Rectify with a learned negative slope: f(x) = x where x > 0, else a·x.

    The gradients are df/dx = 1 where x > 0, else a (so the slope itself at x = 0, PyTorch's convention), and
    df/da = 0 where x > 0, else x, summed over every element that shares the slope. Nothing keeps a below 1: with
    a > 1 this is not max(x, a·x).

    Args:
        input: any shape, floating point.
        weight: the slopes a. Shape (C,) is one slope for each of the C channels of `input`, shape (1,) or () one
            shared slope. It has `input`'s dtype, except under autocast, which casts both.
        channel_dim: the dimension of `input` that holds the channels; negative values count from the end. 1 fits
            batches (N, C), (N, C, L), (N, C, H, W) and (N, C, D, H, W), -1 fits tokens (N, L, C), and -3 fits
            images with or without a batch dimension. A shared slope has no use for it.

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
    try:
        if channel_dim == 1 or weight.numel() == 1:
            return F.prelu(input, weight)
        # F.prelu knows dimension 1 alone. Moving an axis copies nothing, and an elementwise result keeps its
        # input's strides. The extra leading dimension gives even a vector a dimension 1.
        axis = channel_dim + 1 if channel_dim >= 0 else channel_dim
        return F.prelu(input.unsqueeze(0).movedim(axis, 1), weight).movedim(1, axis).squeeze(0)
    except (RuntimeError, IndexError):
        _explain(input, weight, channel_dim)
        raise


torch.fx.wrap("prelu")  # one node in a symbolically traced graph: its branches depend on the tensors


def _explain(input: Tensor, weight: Tensor, channel_dim: int) -> None:  # noqa: A002
    """Raise the error that says which rule of `prelu` its arguments break; return if they keep them all."""
    if weight.ndim > 1:
        raise ValueError(
            f"the slopes have shape {tuple(weight.shape)}: pass a scalar or a vector with one slope per channel"
        ) from None
    if input.dtype != weight.dtype:
        raise TypeError(
            f"the input is {input.dtype} and the slopes are {weight.dtype}: convert one of them, for example the "
            f"layer with layer.to({input.dtype})"
        ) from None
    shape, slopes = tuple(input.shape), weight.numel()
    in_range = -len(shape) <= channel_dim < len(shape)
    if slopes == 1 or (in_range and shape[channel_dim] == slopes):
        return
    found = f"{shape[channel_dim]} channels in" if in_range else "no"
    per_channel = f"num_parameters={shape[channel_dim]} for one slope per channel, " if in_range else ""
    fitting = " or ".join(f"channel_dim={dim}" for dim, size in enumerate(shape) if size == slopes)
    raise ValueError(
        f"{slopes} slopes do not fit an input of shape {shape}, which has {found} dimension {channel_dim}: pass "
        f"{per_channel}num_parameters=1 for a shared slope, "
        + (f"or {fitting} if the channels are there" if fitting else "or the channel_dim of the channels")
    ) from None
