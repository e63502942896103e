"""Memory format of a study's network."""

from __future__ import annotations

from slopewise.modules import channels_last_
from slopewise.study._spec_tables import ModelSpec
from slopewise.study.models._built import BuiltModel


def laid_out(built: BuiltModel, spec: ModelSpec) -> BuiltModel:
    """Return a network after its weights have been put into the spec's memory format, in place.

    Args:
        built: Network with its initial weights.
        spec: Spec of the network.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = BuiltModel(nn.Conv2d(2, 3, 3), {})
        >>> laid_out(net, ModelSpec(memory_format="channels_last")).model(torch.ones(1, 2, 4, 4)).stride()
        (12, 1, 6, 3)
    """
    if spec.memory_format == "channels_last":
        channels_last_(built.model)
    return built
