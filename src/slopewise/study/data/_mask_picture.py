"""Masks in pictures: numbers of classes, whatever colours a palette shows them in."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from slopewise.errors import DataError
from slopewise.study.data._picture import turned

Numbers = np.ndarray[Any, np.dtype[Any]]


def mask_values(image: Image.Image) -> Numbers:
    """Return the numbers (H, W) of a mask: indices of a palette, levels of grey, also those of 16 bits.

    A picture of several channels that are equal, as grey in RGB, is read by one of them. Others are returned as
    (H, W, C), for `check_mask` to refuse.

    Example:
        >>> mask = Image.new("P", (2, 1))
        >>> mask.putpalette([0, 0, 0, 200, 0, 0])
        >>> mask.putpixel((1, 0), 1)
        >>> mask_values(mask).tolist()
        [[0, 1]]
    """
    image.load()
    upright = turned(image)
    if upright.mode in ("PA", "LA", "La"):
        upright = upright.getchannel(0)
    numbers = np.array(upright)
    if numbers.ndim == 3:
        colours = numbers[..., :3] if upright.mode in ("RGBA", "RGBa", "RGBX") else numbers
        numbers = colours[..., 0] if bool((colours == colours[..., :1]).all()) else colours
    return numbers.astype(np.uint8) if numbers.dtype == bool else numbers


def check_mask(numbers: Numbers, where: str) -> Numbers:
    """Return numbers (H, W) as int32.

    Args:
        numbers: Result of `mask_values`.
        where: Subject of the error, such as a file.

    Raises:
        DataError: The mask is a picture of colours, or holds fractions.
    """
    if numbers.ndim == 2:
        if numbers.dtype.kind == "f" and (odd := numbers[numbers != np.floor(numbers)]).size:
            raise DataError(f"data: {where} holds {odd[0]:.4g}, but must hold whole numbers of classes 0, 1, ...")
        return numbers.astype(np.int32)
    count = len(np.unique(numbers.reshape(-1, numbers.shape[-1]), axis=0))
    raise DataError(
        f"data: {where} is a picture of {count} colours, but a mask has one number a pixel, that of its class: convert "
        "it to grey levels 0, 1, ... or to a palette"
    )
