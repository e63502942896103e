"""The operators in PyTorch's own operations: what the kernels are checked against, and what runs where they do not.

Every device, dtype, stride and transform that PyTorch's `prelu` and `batch_norm` take is taken here too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def prelu(input: Tensor, weight: Tensor, channel_dim: int) -> Tensor:  # noqa: A002 (PyTorch's name)
    """x where x > 0, else weight·x, with the channels in `channel_dim`."""
    if channel_dim == 1 or weight.numel() == 1:
        return F.prelu(input, weight)
    # F.prelu knows dimension 1 alone. Moving an axis copies nothing, and an elementwise result keeps its
    # input's strides. The extra leading dimension gives even a vector a dimension 1.
    axis = channel_dim + 1 if channel_dim >= 0 else channel_dim
    return F.prelu(input.unsqueeze(0).movedim(axis, 1), weight).movedim(1, axis).squeeze(0)


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
    """prelu(batch_norm(input) + residual); updates the running statistics in training, as F.batch_norm does."""
    if weight is None and bias is not None:  # of which PyTorch has the second derivative wrong (2.13)
        weight = torch.ones_like(bias)
    normalised = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    summed = normalised if residual is None else normalised + residual
    return F.prelu(summed, slope.to(summed.dtype))
