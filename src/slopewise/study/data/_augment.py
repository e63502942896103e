"""Augmentation of whole batches: shift, flip, random erasing.

All random numbers of a batch are drawn at once on the CPU, whatever the device and the arm, so that every arm of one
seed sees the same images. Targets that are masks or images move with their image; erasing changes the image alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slopewise.study._spec_tables import AugmentSpec
from slopewise.study.data._targets import TargetKind

_ERASED_AREA = (0.02, 0.33)  # fraction of the image's area, and
_ERASED_ASPECT = (0.3, 3.3)  # height / width: the ranges of Zhong et al. 2017


@dataclass(frozen=True)
class Augment:
    """Resolved augmentation: maximum shift in pixels, mirroring on or off, probability of erasing, kind of targets.

    Every slice of a volume is changed alike: shifts, mirroring and erasing act on the last two axes.

    Example:
        >>> augment = Augment(shift=1, flip=False, erase=0.0, kind="masks")
        >>> images, masks = torch.rand(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.int64)
        >>> [part.shape for part in augment(images, masks, torch.Generator().manual_seed(0))]
        [torch.Size([4, 3, 8, 8]), torch.Size([4, 8, 8])]
    """

    shift: int
    flip: bool
    erase: float
    kind: TargetKind = "labels"

    @classmethod
    def resolve(cls, spec: AugmentSpec, *, height: int, flip: bool, kind: TargetKind = "labels") -> Augment:
        """Fill in the spec's missing values: an eighth of the height for `shift`, the data set's setting for `flip`."""
        return cls(
            shift=height // 8 if spec.shift is None else spec.shift,
            flip=flip if spec.flip is None else spec.flip,
            erase=spec.erase,
            kind=kind,
        )

    def __call__(self, images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return changed copies of images (B, C, *spatial sizes) and targets; an effect that is off draws nothing.

        Masks and images among the targets are shifted and mirrored as their image is, by as many of their own pixels
        as correspond to the image's: a target of twice the height by twice the shift. Other targets stay as they are.
        """
        moving = self.kind in ("masks", "images")
        if self.shift:
            offsets = torch.randint(0, 2 * self.shift + 1, (2, len(images), 1), generator=generator) - self.shift
            factor = targets.shape[-1] // images.shape[-1] if moving else 1
            targets = _shifted(targets, offsets * factor) if moving else targets
            images = _shifted(images, offsets)
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            targets = _flipped(targets, mirrored) if moving else targets
            images = _flipped(images, mirrored)
        if self.erase:
            # Standardised images have mean 0; inputs of restoration keep their own brightness.
            mean = images.mean(dim=tuple(range(2, images.dim())), keepdim=True) if self.kind == "images" else 0.0
            images = torch.where(_erased(images, self.erase, generator), mean, images)
        return images, targets


def _shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Return images whose pixel (y, x) is the one at (y, x) + offsets, (2, B, 1); edges are repeated."""
    batch, (height, width) = len(images), images.shape[-2:]
    rows = (offsets[0] + torch.arange(height)).clamp_(0, height - 1)
    columns = (offsets[1] + torch.arange(width)).clamp_(0, width - 1)
    planes = images.reshape(batch, -1, height * width)  # masks have no axis of channels, volumes have one more
    # `gather` with one index for all planes of an image: an index tensor per axis takes two to eight times as long.
    source = (width * rows)[:, :, None] + columns[:, None, :]
    return planes.gather(2, source.view(batch, 1, -1).expand(planes.shape)).view(images.shape)


def _flipped(images: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(_beside(mirrored[:, None, None], images), images.flip(-1), images)


def _erased(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return the pixels of a rectangle in each image that is to be erased, broadcastable to the images."""
    batch, (height, width) = len(images), images.shape[-2:]
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
    return _beside(erased, images)


def _beside(flags: Tensor, images: Tensor) -> Tensor:
    """Return flags (B, h, w) with the axes that broadcast them over images (B, ..., H, W)."""
    return flags[(slice(None), *[None] * (images.dim() - 3))]
