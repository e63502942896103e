"""A plain CNN: six convolutions (by default) in three stages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from slopewise.study.models._initialise import check_width, he_normal

_DEEPEST = 1000


def cnn(
    activation: Callable[[int], nn.Module],
    num_classes: int,
    in_channels: int,
    *,
    width: int = 16,
    depth: int = 6,
    batch_norm: bool = False,
) -> nn.Sequential:
    """Build three stages of 3 x 3 convolutions of width, 2 * width and 4 * width channels, then one linear layer.

    The convolutions are distributed evenly over the stages; earlier stages take the remainder. One or two convolutions
    make as many stages. Max-pooling follows each stage but the last, which global average pooling follows.
    Images need at least 4 x 4 pixels.

    Args:
        activation: Factory of the activations, called with the channels.
        num_classes: Number of outputs.
        in_channels: Number of channels of an image.
        width: Number of channels in the first stage.
        depth: Number of convolutions, 1 to 1,000.
        batch_norm: True for batch normalisation between each convolution and its activation.

    Raises:
        ValueError: `width` or `depth` is out of range.

    Example:
        >>> import torch
        >>> cnn(lambda channels: nn.ReLU(), 10, 1)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
        >>> [layer.out_channels for layer in cnn(lambda channels: nn.ReLU(), 10, 1, depth=7) if hasattr(layer, "stride")
        ...  and hasattr(layer, "out_channels")]
        [16, 16, 16, 32, 32, 64, 64]
    """
    check_width(width)
    if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= _DEEPEST:
        raise ValueError(f"depth must be a whole number from 1 to {_DEEPEST:,}, not {depth!r}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, number, stages = in_channels, 0, min(3, depth)
    for stage in range(stages):
        if stage:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        for _ in range(depth // stages + (stage < depth % stages)):
            number += 1
            out = width * 2**stage
            layers[f"conv{number}"] = nn.Conv2d(channels, out, 3, padding=1, bias=not batch_norm)
            if batch_norm:
                layers[f"norm{number}"] = nn.BatchNorm2d(out)
            layers[f"act{number}"] = activation(out)
            channels = out
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(channels, num_classes)
    return he_normal(nn.Sequential(layers))
