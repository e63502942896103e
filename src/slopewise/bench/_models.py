"""Two networks in the variants that are compared: the same convolutions with different normalisations and activations.

A variant is a factory `norm_act(channels) -> Module` whose module takes (input, residual=None). The fused variants are
slopewise's layers; the others are built like torchvision's ResNets, with the sum and ReLU in place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

import slopewise.nn as swnn

NormAct = Callable[[int], nn.Module]

RELU, PRELU, UNFUSED = "ReLU", "PReLU", "slopewise"
FUSED, FUSED_LOW_MEMORY, CONVOLUTIONS = "slopewise fused", "slopewise fused low_memory", "convolutions alone"
COMPILED = " compiled"
VARIANTS = (RELU, PRELU, UNFUSED, FUSED, FUSED_LOW_MEMORY, CONVOLUTIONS)


def build(network: str, variant: str, *, width: int = 16, init: float = 0.25) -> nn.Module:
    """Build a network for 3-channel images and 10 classes.

    Args:
        network: Name of the network, "resnet20" or "cnn".
        variant: One of `VARIANTS`.
        width: Number of channels of the first stage.
        init: Initial value of the PReLU variants' slopes, of which each channel has one.

    Example:
        >>> import torch
        >>> build("resnet20", "PReLU", width=4)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    factories: dict[str, NormAct] = {
        RELU: lambda channels: BatchNormThen(channels, nn.ReLU(inplace=True)),
        PRELU: lambda channels: BatchNormThen(channels, nn.PReLU(channels, init)),
        UNFUSED: lambda channels: BatchNormThen(channels, swnn.PReLU(channels, init)),
        FUSED: partial(swnn.BatchNormPReLU2d, init=init),
        FUSED_LOW_MEMORY: partial(swnn.BatchNormPReLU2d, init=init, low_memory=True),
        CONVOLUTIONS: lambda _: Nothing(),
    }
    return NETWORKS[network](factories[variant], width)


class BatchNormThen(nn.Module):
    """BatchNorm, the optional residual, then an activation."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        self.bn, self.act = nn.BatchNorm2d(channels), activation

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Return a tensor of the shape that input and residual have, (N, channels, H, W)."""
        output: Tensor = self.bn(input)
        if residual is not None:
            output += residual
        return self.act(output)  # type: ignore[no-any-return]


class Nothing(nn.Module):
    """No normalisation and no activation: the convolution's output is not changed."""

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:  # noqa: A002, ARG002
        """Return the input itself."""
        return input


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with the parameter-free shortcut of He et al. (2016), option A."""

    def __init__(self, norm_act: NormAct, in_channels: int, channels: int) -> None:
        super().__init__()
        self.stride, self.new_channels = 1 if channels == in_channels else 2, channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, self.stride, padding=1, bias=False)
        self.norm_act1 = norm_act(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm_act2 = norm_act(channels)
        self.has_shortcut = not isinstance(self.norm_act2, Nothing)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        residual = self._shortcut(input) if self.has_shortcut else None
        return self.norm_act2(self.conv2(self.norm_act1(self.conv1(input))), residual)  # type: ignore[no-any-return]

    def _shortcut(self, input: Tensor) -> Tensor:  # noqa: A002
        if self.stride == 1:
            return input
        return F.pad(input[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def resnet20(norm_act: NormAct, width: int) -> nn.Module:
    """Build a ResNet-20: a convolution, three stages of three blocks (width, 2 * width, 4 * width), a linear layer."""
    layers = [nn.Conv2d(3, width, 3, padding=1, bias=False), norm_act(width)]
    channels = width
    for out in (width, 2 * width, 4 * width):
        for _ in range(3):
            layers.append(BasicBlock(norm_act, channels, out))
            channels = out
    return _with_head(layers, channels)


def cnn(norm_act: NormAct, width: int) -> nn.Module:
    """Build three pairs of 3 x 3 convolutions with max-pooling between the pairs, and a linear layer."""
    layers: list[nn.Module] = []
    channels = 3
    for number, out in enumerate((width, width, 2 * width, 2 * width, 4 * width, 4 * width), start=1):
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), norm_act(out)]
        if number in (2, 4):
            layers.append(nn.MaxPool2d(2))
        channels = out
    return _with_head(layers, channels)


NETWORKS: dict[str, Callable[[NormAct, int], nn.Module]] = {"resnet20": resnet20, "cnn": cnn}


def _with_head(layers: list[nn.Module], channels: int) -> nn.Module:
    for module in layers:
        for conv in module.modules():
            if isinstance(conv, nn.Conv2d):
                # Before a BatchNorm the scale of the weights has no effect; without one it preserves the signal's.
                nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
