"""Memory format of a study's network."""

from __future__ import annotations

import torch

from slopewise.study._spec_tables import ModelSpec
from slopewise.study.models._built import BuiltModel

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the number of a weight's dimensions


def laid_out(built: BuiltModel, spec: ModelSpec) -> BuiltModel:
    """Return a network after its weights have been put into the spec's memory format, in place.

    A convolution computes in the format of its weights, whatever that of its input, so that images need no change.

    Args:
        built: Network with its initial weights.
        spec: Spec of the network.

    Example:
        >>> from torch import nn
        >>> net = BuiltModel(nn.Conv2d(2, 3, 3), {})
        >>> laid_out(net, ModelSpec(memory_format="channels_last")).model(torch.ones(1, 2, 4, 4)).stride()
        (12, 1, 6, 3)
    """
    if spec.memory_format == "channels_last":
        for tensor in (*built.model.parameters(), *built.model.buffers()):
            # One by one: `Module.to` refuses a network with weights of both numbers of dimensions.
            if tensor.dim() in _CHANNELS_LAST:
                tensor.data = tensor.data.contiguous(memory_format=_CHANNELS_LAST[tensor.dim()])
    return built
