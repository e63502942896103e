"""Augmentation of whole batches: shift, flip, random erasing.

All random numbers of a batch are drawn at once on the CPU, whatever the device and the arm, so that every arm of one
seed sees the same images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.study._spec import AugmentSpec

_ERASED_AREA = (0.02, 0.33)  # fraction of the image's area, and
_ERASED_ASPECT = (0.3, 3.3)  # height / width: the ranges of Zhong et al. 2017


@dataclass(frozen=True)
class Augment:
    """Resolved augmentation: maximum shift in pixels, mirroring on or off, probability of erasing.

    Example:
        >>> augment = Augment(shift=1, flip=False, erase=0.0)
        >>> augment(torch.zeros(4, 1, 8, 8), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 1, 8, 8])
    """

    shift: int
    flip: bool
    erase: float

    @classmethod
    def resolve(cls, spec: AugmentSpec, *, height: int, flip: bool) -> Augment:
        """Fill in the spec's missing values: an eighth of the height for `shift`, the data set's setting for `flip`."""
        return cls(
            shift=height // 8 if spec.shift is None else spec.shift,
            flip=flip if spec.flip is None else spec.flip,
            erase=spec.erase,
        )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a changed copy of images (B, C, H, W); each effect that is off draws nothing."""
        if self.shift:
            images = _shift(images, self.shift, generator)
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.erase:
            images = _erase(images, self.erase, generator)
        return images


def _shift(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    batch, _, height, width = images.shape
    offsets = torch.randint(0, 2 * most + 1, (2, batch, 1), generator=generator)
    rows, columns = offsets[0] + torch.arange(height), offsets[1] + torch.arange(width)
    padded = F.pad(images, (most,) * 4, mode="replicate")
    # Index tensors (B, 1, H, 1), (B, 1, 1, W) beside a full slice of channels gather every shifted window at once.
    picked = torch.arange(batch)[:, None, None, None], rows[:, None, :, None], columns[:, None, None, :]
    channels = torch.arange(images.shape[1])[None, :, None, None]
    return padded[picked[0], channels, picked[1], picked[2]]


def _erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    batch, _, height, width = images.shape
    chance, area, aspect, top, left = torch.rand(5, batch, generator=generator)
    area = (_ERASED_AREA[0] + area * (_ERASED_AREA[1] - _ERASED_AREA[0])) * height * width
    low, high = torch.tensor(_ERASED_ASPECT).log()
    aspect = (low + aspect * (high - low)).exp()
    tall, wide = (area * aspect).sqrt().clamp(max=height), (area / aspect).sqrt().clamp(max=width)
    top, left = top * (height - tall), left * (width - wide)
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    erased = inside_rows[:, :, None] & inside_columns[:, None, :] & (chance < probability)[:, None, None]
    return images.masked_fill(erased[:, None], 0.0)  # images are normalised: 0 is the mean
