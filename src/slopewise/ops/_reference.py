"""Reference implementations in PyTorch's own operations, for tests of the kernels and calls that these do not take.

They accept every device, dtype, stride and transform that PyTorch's `prelu` and `batch_norm` accept.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.ops._library import channel_values
from slopewise.ops._routing import forward_mode


def prelu(input: Tensor, weight: Tensor, channel_dim: int) -> Tensor:  # noqa: A002 (PyTorch's name)
    """Compute x where x > 0, else weight·x, with the channels in `channel_dim`."""
    if channel_dim == 1 or weight.numel() == 1:
        return _rectified(input, weight)
    # F.prelu takes channels in dimension 1 only. Moving an axis copies nothing, and an elementwise result keeps its
    # input's strides.
    if input.ndim == 1:
        return _rectified(input.movedim(channel_dim, 0).unsqueeze(0), weight).squeeze(0)
    return _rectified(input.movedim(channel_dim, 1), weight).movedim(1, channel_dim)


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
) -> Tensor:
    """Compute prelu(batch_norm(input) + residual); in training, update the running statistics as F.batch_norm does."""
    if weight is None and bias is not None:  # PyTorch's second derivative is wrong for this (2.13)
        weight = torch.ones_like(bias)
    normalised = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    summed = normalised if residual is None else normalised + residual
    return _rectified(summed, slope.to(summed.dtype))


def _rectified(x: Tensor, slope: Tensor) -> Tensor:
    """Compute F.prelu with the slope as its forward-mode derivative at x = 0, where PyTorch's own is 1 (2.13)."""
    y = F.prelu(x, slope)
    if not forward_mode():
        return y
    # F.prelu has already refused arguments that do not fit, and its output has the dtype that autocast chose.
    x = x.to(y.dtype)
    below = torch.where(x > 0, 0.0, x)  # otherwise the slope's gradient in a reverse pass is NaN at infinity
    return torch.where(x > 0, x, channel_values(slope, 1.0, slope.numel(), x) * below)
