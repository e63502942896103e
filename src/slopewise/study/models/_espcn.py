"""Sub-pixel convolution for super-resolution (ESPCN, Shi et al. 2016), or without enlargement for denoising."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.study.models._initialise import check_width, he_normal

_LAST = 0.1  # scale of the last layer's weights: training starts close to the enlarged input


class ESPCN(nn.Module):
    """Convolutions at the input's size, then a rearrangement of channels into an image `upscale` times as large."""

    def __init__(
        self,
        activation: Callable[[int], nn.Module],
        num_classes: int,
        in_channels: int,
        upscale: int,
        *,
        width: int,
        skip: bool,
    ) -> None:
        super().__init__()
        half = max(width // 2, 1)
        self.conv1, self.act1 = nn.Conv2d(in_channels, width, 5, padding=2), activation(width)
        self.conv2, self.act2 = nn.Conv2d(width, width, 3, padding=1), activation(width)
        self.conv3, self.act3 = nn.Conv2d(width, half, 3, padding=1), activation(half)
        self.conv4 = nn.Conv2d(half, num_classes * upscale**2, 3, padding=1)
        self.shuffle, self.upscale, self.skip = nn.PixelShuffle(upscale), upscale, skip

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, num_classes, upscale * H, upscale * W)."""
        x = self.act1(self.conv1(images))
        x = self.act3(self.conv3(self.act2(self.conv2(x))))
        x = self.shuffle(self.conv4(x))
        return x + self._enlarged(images) if self.skip else x  # type: ignore[no-any-return]

    def _enlarged(self, images: Tensor) -> Tensor:
        if self.upscale == 1:
            return images
        return F.interpolate(images, scale_factor=self.upscale, mode="bicubic", align_corners=False)


def espcn(
    activation: Callable[[int], nn.Module],
    num_classes: int,
    in_channels: int,
    upscale: int,
    *,
    width: int = 32,
    skip: bool = True,
) -> ESPCN:
    """Build four convolutions of width, width, width / 2 and num_classes * upscale² channels, and a pixel shuffle.

    Args:
        activation: Factory of the activation, called with a number of channels for each of its places.
        num_classes: Number of channels of the output image.
        in_channels: Number of channels of the input image.
        upscale: Size of the output in sizes of the input; 1 for images of one size.
        width: Number of channels.
        skip: True to add the bicubically enlarged input to the output, so that the network learns what is missing.

    Example:
        >>> espcn(lambda channels: nn.PReLU(channels), 1, 1, 2)(torch.zeros(2, 1, 8, 9)).shape
        torch.Size([2, 1, 16, 18])
    """
    check_width(width)
    if skip and num_classes != in_channels:
        raise ValueError(
            f"skip adds the input of {in_channels} channels to an output of {num_classes}: set skip = false"
        )
    model = he_normal(ESPCN(activation, num_classes, in_channels, upscale, width=width, skip=skip))
    with torch.no_grad():
        model.conv4.weight.mul_(_LAST)
    return model
