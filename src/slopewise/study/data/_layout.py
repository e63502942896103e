"""Axes of images in arrays: one rule for every source, and an error if the sizes are ambiguous.

`C`, `H` and `W` are channels, height and width of one image. The rule uses two signs: an axis of at most 4 if the axis
at the other end is longer (grey, colour, transparency), and two equal axes beside a third (a square of any number of
bands). If the signs disagree or are absent, or the resulting image would be as narrow as a window of sensor data, the
error asks for `data.layout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from slopewise.errors import DataError

Layout = Literal["CHW", "HWC", "HW"]

_MOST_COLOURS = 4
_NARROW = 16  # an image with a shorter side below this, and
_LONG = 4  # a longer side of at least this multiple, may be a time series


def find_layout(shape: Sequence[int], requested: Literal["auto"] | Layout, what: str) -> Layout:
    """Find the axes of one image of that shape.

    Args:
        shape: Shape of one image, without an axis of images.
        requested: Value of `data.layout`.
        what: Subject of the error, such as "training images".

    Raises:
        DataError: The shape is not that of an image, is ambiguous, or contradicts `data.layout`.

    Example:
        >>> find_layout((28, 28, 3), "auto", "images"), find_layout((13, 64, 64), "auto", "images")
        ('HWC', 'CHW')
        >>> find_layout((9, 128, 1), "auto", "images")
        Traceback (most recent call last):
        ...
        slopewise.errors.DataError: data: images of shape (9, 128, 1) may be 9 channels of 128 x 1 or 1 channel of \
9 x 128: say which by data.layout = "CHW" or "HWC" (channels first or last)
    """
    shape = tuple(shape)
    if len(shape) not in (2, 3):
        kind = "vectors or tables" if len(shape) < 2 else "volumes or videos"
        raise DataError(
            f"data: {what} are each of shape {shape}, which is that of {kind}; a study takes "
            f"images of two axes (H, W), or of three with one for the channels{_unflattened(shape)}"
        )
    if requested != "auto":
        if len(requested) != len(shape):
            raise DataError(
                f"data.layout: '{requested}' has {len(requested)} axes, but {what} are each of shape {shape}"
            )
        return requested
    if len(shape) == 2:
        if _may_be_series(*shape):
            raise DataError(
                f"data: {what} of shape {shape} may be {min(shape)} channels of a series, which a study does not take; "
                f'if they are pictures without an axis for the channels, say data.layout = "HW"'
            )
        return "HW"
    first, middle, last = shape
    signs: dict[Layout, bool] = {
        "CHW": first <= _MOST_COLOURS < last or first != middle == last,
        "HWC": last <= _MOST_COLOURS < first or first == middle != last,
    }
    planes: dict[Layout, tuple[int, int]] = {"CHW": (middle, last), "HWC": (first, middle)}
    candidates = [layout for layout, sign in signs.items() if sign]
    if len(candidates) == 1 and not _may_be_series(*planes[candidates[0]]):
        return candidates[0]
    volume = ", or a volume, which a study does not take" if first == middle == last else ""
    raise DataError(
        f"data: {what} of shape {shape} may be {_channels(first)} of {middle} x {last} or {_channels(last)} of "
        f'{first} x {middle}{volume}: say which by data.layout = "CHW" or "HWC" (channels first or last)'
    )


def channels_first(images: Tensor, layout: Layout) -> Tensor:
    """Convert images (..., H, W), (..., H, W, C) or (..., C, H, W) to (..., C, H, W).

    Example:
        >>> import torch
        >>> channels_first(torch.zeros(5, 28, 28, 3), "HWC").shape, channels_first(torch.zeros(28, 28), "HW").shape
        (torch.Size([5, 3, 28, 28]), torch.Size([1, 28, 28]))
    """
    if layout == "HW":
        return images.unsqueeze(-3)
    return images.movedim(-1, -3).contiguous() if layout == "HWC" else images


def _unflattened(shape: tuple[int, ...]) -> str:
    """Return a hint to reshape vectors that are as long as a square image of one or three channels; else ""."""
    for channels in (1, 3):
        side = math.isqrt(math.prod(shape) // channels)
        if len(shape) == 1 and side >= 8 and channels * side**2 == shape[0]:
            axes = (-1, side, side) if channels == 1 else (-1, 3, side, side)
            return f": if these are flattened images, reshape them, perhaps as {axes}"
    return ""


def _may_be_series(height: int, width: int) -> bool:
    short, long = sorted((height, width))
    return short < _NARROW and long >= _LONG * short


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count != 1)}"
