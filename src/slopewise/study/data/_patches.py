"""Patches of scikit-image's pictures for restoration: photographs and textures that its wheel ships.

The targets are grey patches of 32 x 32 pixels, side by side. An image is its target averaged over squares of `scale`
pixels, plus normal noise of `noise` levels out of 255.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from slopewise.errors import DataError, nearest
from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._base import RawData
from slopewise.study.data._reader import ImageReader

# Patches of one picture are alike, so each picture is in one part alone.
_TRAIN = ("astronaut", "brick", "camera", "coffee", "grass", "immunohistochemistry", "rocket")
_TEST = ("cat", "clock", "coins", "gravel", "moon")
_SIZE = 32
_FLAT = 4.0  # standard deviation in levels below which a patch shows nothing to restore


def load(spec: DataSpec, reader: ImageReader) -> RawData:  # noqa: ARG001 - every source has this signature
    """Load the patches; `data.options` takes `scale` (1, 2 or 4; default 2) and `noise` (default 0).

    Raises:
        DataError: An option is wrong, or scikit-image is not installed.
    """
    scale, noise = _options(spec)
    train, test = (torch.cat([_patches(name) for name in names]) for names in (_TRAIN, _TEST))
    generator = stream(0, "patches-noise")
    inputs = [_degraded(targets, scale, noise, generator) for targets in (train, test)]
    degraded = [f"averaged over {scale} x {scale} pixels"] * (scale > 1) + [f"noise of {noise:g} levels"] * (noise > 0)
    reading = f"patches of {_SIZE} x {_SIZE} from {len(_TRAIN)} and {len(_TEST)} pictures, {', '.join(degraded)}"
    return RawData(inputs[0], train, inputs[1], test, (), flip=True, reading=reading, kind="images")


def _options(spec: DataSpec) -> tuple[int, float]:
    options = {"scale": 2, "noise": 0, **spec.options}
    if unknown := [name for name in options if name not in ("scale", "noise")]:
        raise DataError(f"data.options: '{unknown[0]}' is no option of patches; {nearest(unknown[0], options)}")
    scale, noise = options["scale"], options["noise"]
    if scale not in (1, 2, 4) or isinstance(scale, bool):
        raise DataError(f"data.options.scale: 1, 2 or 4, not {scale!r}")
    if isinstance(noise, bool) or not isinstance(noise, (int, float)) or not 0 <= noise <= 255:
        raise DataError(f"data.options.noise: levels from 0 to 255, not {noise!r}")
    if scale == 1 and noise == 0:
        raise DataError("data.options: with scale = 1 and noise = 0 there is nothing to restore")
    return scale, noise


def _patches(name: str) -> Tensor:
    """Return the patches (N, 1, 32, 32) of a picture that are not flat, as uint8."""
    from PIL import Image

    try:
        from skimage import data
    except ImportError as error:
        raise DataError("data 'patches' needs scikit-image: pip install 'slopewise[study]'") from error
    grey = torch.from_numpy(np.array(Image.fromarray(getattr(data, name)()).convert("L")))
    rows, columns = (side // _SIZE for side in grey.shape)
    whole = grey[: rows * _SIZE, : columns * _SIZE]
    patches = whole.view(rows, _SIZE, columns, _SIZE).transpose(1, 2).reshape(-1, 1, _SIZE, _SIZE)
    return patches[patches.to(torch.float64).flatten(1).std(dim=1) >= _FLAT]


def _degraded(targets: Tensor, scale: int, noise: float, generator: torch.Generator) -> Tensor:
    side = _SIZE // scale
    squares = targets.view(-1, 1, side, scale, side, scale).to(torch.int32).sum(dim=(3, 5))
    images = (squares + scale**2 // 2) // scale**2  # the mean, rounded
    if noise:
        images = (images + noise * torch.randn(images.shape, generator=generator)).round().clamp(0, 255)
    return images.to(torch.uint8)
