"""Memory format of a network's weights."""

from __future__ import annotations

import torch
from torch import nn

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the number of a weight's dimensions


def channels_last_(model: nn.Module) -> nn.Module:
    """Lay out a network's weights channels last, in place, and return it.

    A convolution computes in the format of its weights, whatever that of its input, so that images need no change.

    Example:
        >>> channels_last_(nn.Conv2d(2, 3, 3))(torch.ones(1, 2, 4, 4)).stride()
        (12, 1, 6, 3)
    """
    for tensor in (*model.parameters(), *model.buffers()):
        # One by one: `Module.to` refuses a network with weights of both numbers of dimensions.
        if tensor.dim() in CHANNELS_LAST:
            tensor.data = tensor.data.contiguous(memory_format=CHANNELS_LAST[tensor.dim()])
    return model
