"""Learned slopes of a layer, as tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slopewise.modules._roles import current, slope_name


def learned_slopes(module: nn.Module) -> Tensor:
    """Return the slopes that a PReLU or a fused layer learns, detached and flat; of others, an empty tensor.

    Example:
        >>> learned_slopes(nn.PReLU(2)), learned_slopes(nn.ReLU())
        (tensor([0.2500, 0.2500]), tensor([]))
    """
    name = slope_name(module)
    if name is None:
        return torch.empty(0)
    return applied_slopes(module, current(module, name))


def applied_slopes(module: nn.Module, slopes: Tensor) -> Tensor:
    """Return the slopes as a layer applies them: within its bounds, which a step may have moved them out of."""
    bounds, slopes = getattr(module, "bounds", None), slopes.detach().flatten()
    return slopes if bounds is None else slopes.clamp(*bounds)
