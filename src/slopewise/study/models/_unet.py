"""A small U-Net for images and volumes (Ronneberger et al. 2015), with padded convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.study.models._initialise import check_width, he_normal

Activation = Callable[[int], nn.Module]
_NORMS = ("batch", "instance", "none")
_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_NORM = {
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
}


class _Block(nn.Module):
    """Two 3 x 3 (x 3) convolutions, each with its normalisation and its activation."""

    def __init__(self, activation: Activation, in_channels: int, channels: int, dimensions: int, norm: str) -> None:
        super().__init__()
        self.conv1, self.norm1 = self._conv(in_channels, channels, dimensions, norm)
        self.act1 = activation(channels)
        self.conv2, self.norm2 = self._conv(channels, channels, dimensions, norm)
        self.act2 = activation(channels)

    def _conv(self, in_channels: int, channels: int, dimensions: int, norm: str) -> tuple[nn.Module, nn.Module]:
        conv = _CONV[dimensions](in_channels, channels, 3, padding=1, bias=norm == "none")
        return conv, nn.Identity() if norm == "none" else _NORM[norm, dimensions](channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, ...) to (N, channels, ...)."""
        x = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(x)))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Blocks of width, 2 * width, ... channels, each level of half the size, and back up with skip connections."""

    def __init__(
        self,
        activation: Activation,
        num_classes: int,
        in_channels: int,
        dimensions: int,
        *,
        width: int,
        levels: int,
        norm: str,
    ) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(levels)]
        pairs = list(zip([in_channels, *channels], channels, strict=False))
        self.down = nn.ModuleList(_Block(activation, i, o, dimensions, norm) for i, o in pairs)
        self.pool = _POOL[dimensions](2)
        below = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.up = nn.ModuleList(_UP[dimensions](i, o, 2, stride=2) for i, o in below)
        self.merge = nn.ModuleList(_Block(activation, 2 * o, o, dimensions, norm) for _, o in below)
        self.head = _CONV[dimensions](width, num_classes, 1)
        self._multiple = 2 ** (levels - 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, sizes) to (N, num_classes, sizes), edges repeated up to a size that can be halved."""
        sizes = images.shape[2:]
        missing = [-size % self._multiple for size in sizes]
        x = images
        if any(missing):
            x = F.pad(x, [side for more in reversed(missing) for side in (0, more)], mode="replicate")
        skips: list[Tensor] = []
        for block in self.down:
            x = block(self.pool(x) if skips else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat((skip, up(x)), dim=1))
        x = self.head(x)
        return x[(..., *(slice(size) for size in sizes))] if any(missing) else x  # type: ignore[no-any-return]


def unet(
    activation: Activation,
    num_classes: int,
    in_channels: int,
    dimensions: int,
    *,
    width: int = 8,
    levels: int = 3,
    norm: str = "batch",
) -> UNet:
    """Build a U-Net whose output has the size of its input, for images (dimensions 2) or volumes (3).

    A level has two 3 x 3 convolutions of width * 2^level channels; max-pooling halves, a transposed convolution of
    2 x 2 doubles, and the last convolution is 1 x 1. Images of any size are taken.

    Args:
        activation: Factory of the activation, called with a number of channels for each of its places.
        num_classes: Number of output channels.
        in_channels: Number of input channels.
        dimensions: Number of spatial axes, 2 or 3.
        width: Number of channels of the first level.
        levels: Number of sizes that the network works at.
        norm: "batch", "instance" or "none".

    Example:
        >>> unet(lambda channels: nn.PReLU(channels), 3, 1, 2)(torch.zeros(2, 1, 9, 14)).shape
        torch.Size([2, 3, 9, 14])
        >>> unet(lambda channels: nn.ReLU(), 3, 1, 3, norm="instance")(torch.zeros(2, 1, 4, 8, 9)).shape
        torch.Size([2, 3, 4, 8, 9])
    """
    check_width(width)
    if not isinstance(levels, int) or levels < 1:
        raise ValueError(f"levels must be a whole number from 1 on, not {levels!r}")
    if norm not in _NORMS:
        raise ValueError(f"norm must be one of {', '.join(_NORMS)}, not {norm!r}")
    return he_normal(UNet(activation, num_classes, in_channels, dimensions, width=width, levels=levels, norm=norm))
