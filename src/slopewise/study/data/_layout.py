"""Axes of images in arrays: one rule for every source, and an error if the sizes are ambiguous.

`C`, `D`, `H` and `W` are channels, depth, height and width of one image. The axes of an image with a mask are the
mask's, and one for the channels. Without a mask, the rule uses two signs: an axis of at most 4 if the axis at the other
end is longer (grey, colour, transparency), and equal axes beside another (a square or cube of any number of bands). If
the signs disagree or are absent, or the resulting image would be as narrow as a window of sensor data, the error asks
for `data.layout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from slopewise.errors import DataError

Layout = Literal["CHW", "HWC", "HW", "CDHW", "DHWC", "DHW"]

_LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_MOST_COLOURS = 4
_NARROW = 16  # an image with a shorter side below this, and
_LONG = 4  # a longer side of at least this multiple, may be a time series


def find_layout(
    shape: Sequence[int], requested: Literal["auto"] | Layout, what: str, *, mask: Sequence[int] | None = None
) -> Layout:
    """Find the axes of one image of that shape.

    Args:
        shape: Shape of one image, without an axis of images.
        requested: Value of `data.layout`.
        what: Subject of the error, such as "training images".
        mask: Shape of its mask, whose axes are those of the image without the channels; None if there is none.

    Raises:
        DataError: The shape is not that of an image, is ambiguous, or contradicts `data.layout`.

    Example:
        >>> find_layout((28, 28, 3), "auto", "images"), find_layout((13, 64, 64), "auto", "images")
        ('HWC', 'CHW')
        >>> find_layout((13, 64, 64), "auto", "images", mask=(13, 64, 64))
        'DHW'
        >>> find_layout((9, 128, 1), "auto", "images")
        Traceback (most recent call last):
        ...
        slopewise.errors.DataError: data: images of shape (9, 128, 1) may be 9 channels of 128 x 1 or 1 channel of \
9 x 128: say which by data.layout = "CHW" or "HWC" (channels first or last)
    """
    shape = tuple(shape)
    if len(shape) not in (2, 3, 4):
        kind = "vectors or tables" if len(shape) < 2 else "videos or more"
        raise DataError(
            f"data: {what} are each of shape {shape}, which is that of {kind}; a study takes images of two axes (H, W) "
            f"or volumes of three (D, H, W), each with or without one for the channels{_unflattened(shape)}"
        )
    if requested != "auto":
        if len(requested) != len(shape):
            raise DataError(
                f"data.layout: '{requested}' has {len(requested)} axes, but {what} are each of shape {shape}"
            )
        return requested
    beside = [layout for layout in _LAYOUTS if mask is not None and spatial_sizes(shape, layout) in _readings(mask)]
    if len(beside) == 1:
        return beside[0]
    if len(shape) == 2:
        if _may_be_series(*shape):
            raise DataError(
                f"data: {what} of shape {shape} may be {min(shape)} channels of a series, which a study does not take; "
                f'if they are pictures without an axis for the channels, say data.layout = "HW"'
            )
        return "HW"
    return _with_channels(shape, what)


def _with_channels(shape: tuple[int, ...], what: str) -> Layout:
    """Return the layout of three or four axes, one of which is taken for that of the channels."""
    kinds: tuple[Layout, Layout] = ("CHW", "HWC") if len(shape) == 3 else ("CDHW", "DHWC")
    first, last = shape[0], shape[-1]
    signs: dict[Layout, bool] = {
        kinds[0]: first <= _MOST_COLOURS < last or (first != last and len(set(shape[1:])) == 1),
        kinds[1]: last <= _MOST_COLOURS < first or (first != last and len(set(shape[:-1])) == 1),
    }
    candidates = [layout for layout, sign in signs.items() if sign]
    if len(candidates) == 1 and (len(shape) == 4 or not _may_be_series(*spatial_sizes(shape, candidates[0]))):
        return candidates[0]
    readings = [f"{_channels(shape[k])} of {_sizes(rest)}" for k, rest in ((0, shape[1:]), (-1, shape[:-1]))]
    answers = [f'data.layout = "{kinds[0]}"', f'"{kinds[1]}" (channels first or last)']
    if len(shape) == 3 and min(shape) > _MOST_COLOURS:
        readings, answers = [*readings, "a volume"], [*answers, '"DHW"']
    readings, answers = ([", ".join(words[:-1]), words[-1]] for words in (readings, answers))
    raise DataError(
        f"data: {what} of shape {shape} may be {' or '.join(readings)}: say which by {' or '.join(answers)}"
    )


def spatial_sizes(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Return the sizes of one image without its channels; () if the layout has another number of axes.

    Example:
        >>> spatial_sizes((3, 28, 32), "CHW"), spatial_sizes((28, 32), "HW"), spatial_sizes((28, 32), "CHW")
        ((28, 32), (28, 32), ())
    """
    if len(shape) != len(layout):
        return ()
    return tuple(size for size, axis in zip(shape, layout, strict=True) if axis != "C")


def _readings(mask: Sequence[int]) -> set[tuple[int, ...]]:
    """Return the shape of a mask, also without an axis of one channel at either end."""
    shape = tuple(mask)
    return {shape, *(rest for channel, rest in ((shape[:1], shape[1:]), (shape[-1:], shape[:-1])) if channel == (1,))}


def channels_first(images: Tensor, layout: Layout) -> Tensor:
    """Convert images of any layout, with or without an axis of images, to (..., C, H, W) or (..., C, D, H, W).

    Example:
        >>> import torch
        >>> channels_first(torch.zeros(5, 28, 28, 3), "HWC").shape, channels_first(torch.zeros(28, 28), "HW").shape
        (torch.Size([5, 3, 28, 28]), torch.Size([1, 28, 28]))
    """
    spatial = layout.replace("C", "")
    if layout == spatial:
        return images.unsqueeze(-1 - len(spatial))
    return images.movedim(-1, -1 - len(spatial)).contiguous() if layout.endswith("C") else images


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


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count != 1)}"
