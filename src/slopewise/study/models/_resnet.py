"""The residual network of 20 layers that He et al. (2016, section 4.2) trained on CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.study.models._initialise import check_width, he_normal


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a parameter-free shortcut; an activation of its own after each."""

    def __init__(self, activation: Callable[[int], nn.Module], in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = activation(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = activation(channels)
        self.stride, self.new_channels = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        branch = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(branch + self._shortcut(x))  # type: ignore[no-any-return]

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.new_channels == 0:
            return x
        # The paper's option A: subsample, and pad the new channels with zeros.
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def resnet20(
    activation: Callable[[int], nn.Module], num_classes: int, in_channels: int, *, width: int = 16
) -> nn.Sequential:
    """Build a convolution, three stages of three blocks with width, 2 * width and 4 * width channels, a linear layer.

    The network has 0.27 million parameters at the paper's width of 16.

    Example:
        >>> import torch
        >>> model = resnet20(lambda channels: nn.ReLU(), 10, 3)
        >>> model(torch.zeros(2, 3, 32, 32)).shape, sum(p.numel() for p in model.parameters())
        (torch.Size([2, 10]), 269722)
    """
    check_width(width)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(in_channels, width, 3, padding=1, bias=False))
    model.add_module("bn", nn.BatchNorm2d(width))
    model.add_module("act", activation(width))
    channels = width
    for stage, out in enumerate((width, 2 * width, 4 * width), start=1):
        for block in range(1, 4):
            stride = 2 if stage > 1 and block == 1 else 1
            model.add_module(f"stage{stage}_block{block}", BasicBlock(activation, channels, out, stride))
            channels = out
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Linear(channels, num_classes))
    return he_normal(model)
