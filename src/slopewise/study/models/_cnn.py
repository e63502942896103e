"""A plain CNN of six convolutions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from slopewise.study.models._initialise import check_width, he_normal


def cnn(
    activation: Callable[[int], nn.Module],
    num_classes: int,
    in_channels: int,
    *,
    width: int = 16,
    batch_norm: bool = False,
) -> nn.Sequential:
    """Build three pairs of 3 x 3 convolutions of width, 2 * width and 4 * width channels, then one linear layer.

    Max-pooling follows the first two pairs, global average pooling the last. Images need at least 4 x 4 pixels.

    Example:
        >>> import torch
        >>> cnn(lambda channels: nn.ReLU(), 10, 1)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    check_width(width)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for number, out in enumerate((width, width, 2 * width, 2 * width, 4 * width, 4 * width), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, out, 3, padding=1, bias=not batch_norm)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(out)
        layers[f"act{number}"] = activation(out)
        if number in (2, 4):
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        channels = out
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(channels, num_classes)
    return he_normal(nn.Sequential(layers))
