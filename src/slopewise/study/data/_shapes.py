"""Generated shapes on textured ground for segmentation, in two or three dimensions.

Each image shows one to three shapes, ellipses (class 1) and boxes (class 2), lighter or darker than the ground, which
is class 0; a later shape covers an earlier one. Ground and ellipses have a coarse texture, boxes a fine one. Normal
noise is laid over all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slopewise.errors import DataError, nearest
from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._base import RawData
from slopewise.study.data._reader import ImageReader

_COUNTS = {2: (1200, 400, 32), 3: (240, 80, 16)}  # training and test images, and their side, by dimensions
_SHAPES = 3  # at most, in one image
_RADII = (0.1, 0.28)  # of a shape along each axis, in sides of the image
_WAVES = 3  # of a texture
_COARSE, _FINE = 0.1, 0.45  # largest frequencies of a texture, in periods a pixel along an axis
_NOISE = 0.08


def load(spec: DataSpec, reader: ImageReader) -> RawData:  # noqa: ARG001 - every source has this signature
    """Draw the images, the same each time; `data.options` takes `dimensions` (2 or 3; default 2).

    Raises:
        DataError: An option is wrong.
    """
    options = {"dimensions": 2, **spec.options}
    if unknown := [name for name in options if name != "dimensions"]:
        raise DataError(f"data.options: '{unknown[0]}' is no option of shapes; {nearest(unknown[0], options)}")
    dimensions = options["dimensions"]
    if dimensions not in _COUNTS:
        raise DataError(f"data.options.dimensions: 2 or 3, not {dimensions!r}")
    train, test, side = _COUNTS[dimensions]
    images, masks = _drawn(train + test, side, dimensions)
    return RawData(
        images[:train],
        masks[:train],
        images[train:],
        masks[train:],
        ("ground", "ellipse", "box"),
        flip=True,
        reading=f"generated {'images' if dimensions == 2 else 'volumes'} of {' x '.join([str(side)] * dimensions)}",
        kind="masks",
    )


def _drawn(count: int, side: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """Return uint8 images (N, 1, side, ...) and masks (N, side, ...)."""
    generator = stream(0, f"shapes-{dimensions}")

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    grid = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float32)] * dimensions)  # (pixels, dimensions)

    def texture(frequency: float) -> Tensor:
        """Return a sum of waves of random direction, about 0, (N, pixels)."""
        waves = uniform(-frequency, frequency, _WAVES, dimensions) @ grid.T
        return (2 * math.pi * (waves + uniform(0, 1, _WAVES, 1))).sin().mean(dim=1)

    ground = uniform(0.35, 0.65, 1)
    image, mask = ground + 0.2 * texture(_COARSE), torch.zeros(count, len(grid), dtype=torch.uint8)
    for number in range(_SHAPES):
        centre, radius = uniform(0.1, 0.9, 1, dimensions) * side, uniform(*_RADII, 1, dimensions) * side
        contrast, is_box = uniform(0.1, 0.3, 1), uniform(0, 1, 1) < 0.5
        signed = torch.where(uniform(0, 1, 1) < 0.5, contrast, -contrast)
        distance = (grid - centre) / radius
        inside = torch.where(is_box, distance.abs().amax(dim=2), distance.square().sum(dim=2)) <= 1
        inside &= uniform(0, 1, 1) < (1.0 if number == 0 else 0.5)  # the first is always there
        inner = torch.where(is_box, 0.3 * texture(_FINE), 0.1 * texture(_COARSE))
        image = torch.where(inside, ground + signed + inner, image)
        mask = torch.where(inside, torch.where(is_box, 2, 1).to(torch.uint8), mask)
    image = image + _NOISE * torch.randn(image.shape, generator=generator)
    sizes = [side] * dimensions
    levels = (255 * image).round().clamp(0, 255).to(torch.uint8)
    return levels.view(count, 1, *sizes), mask.view(count, *sizes)
