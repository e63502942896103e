"""Items of a map-style data set: pairs of an image and a target in any of the accepted types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._references import describe
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._arrays import to_tensor
from slopewise.study.data._layout import channels_first, find_layout
from slopewise.study.data._mask_picture import check_mask, mask_values
from slopewise.study.data._picture import mode_of, to_pixels
from slopewise.study.data._targets import TargetKind

# What an item must be, and words in the names of its target, by kind.
_WANTED: dict[TargetKind, tuple[str, tuple[str, ...]]] = {
    "labels": ("return (image, label), with an integer label", ("label", "target", "class")),
    "multilabel": ("return (image, labels), with a row of 0 and 1", ("labels", "target", "tag")),
    "masks": ("return (image, mask), with one number a pixel", ("mask", "label", "seg", "target")),
    "values": ("return (image, values), with one number or several", ("value", "target", "label")),
    "images": ("return (image, target), both images", ("target", "high", "clean", "label")),
}


@dataclass(frozen=True)
class Picture:
    """The image of one item.

    Attributes:
        pixels: Tensor (C, H, W).
        scale: Description of the pixels' numeric scale: the depth of a Pillow image, or the number type and layout of
            an array.
        widens: True for a grey Pillow image, which may stand among coloured ones.
    """

    pixels: Tensor
    scale: str
    widens: bool = False


def image_and_target(item: Any, where: str, kind: TargetKind = "labels") -> tuple[Any, Any]:
    """Return the image and the target of an item.

    Raises:
        DataError: The item has other parts; the message describes it and the items that a study takes.

    Example:
        >>> image_and_target({"image": np.zeros((8, 8)), "label": 1}, "item 0")
        Traceback (most recent call last):
        ...
        slopewise.errors.DataError: data: item 0 is {image: ndarray (8, 8), label: int}: return (image, label), with \
an integer label: for a dict, (item["image"], item["label"])
    """
    wanted, words = _WANTED[kind]
    if isinstance(item, Mapping):
        names = [str(key) for key in item]
        image = next((name for name in names if name.lower() in ("image", "img", "pixel_values", "picture")), "IMAGE")
        target = next((name for name in names if any(word in name.lower() for word in words)), words[0].upper())
        hint = f': for a dict, (item["{image}"], item["{target}"])'
        raise DataError(f"data: {where} is {described(item)}: {wanted}{hint}")
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(f"data: {where} is {described(item)}: {wanted}")
    image, target = item
    if _is_picture(target) and not _is_picture(image) and np.ndim(image) == 0:
        raise DataError(f"data: {where} is {described(item)}, in the wrong order: {wanted}")
    if target is None or (kind == "labels" and (_is_picture(target) or np.ndim(target) > 1)):
        must = (
            "a label must be an integer class; masks are for the task segmentation, several labels for multilabel, "
            "values for regression"
            if kind == "labels"
            else wanted
        )
        raise DataError(f"data: {where} is {described(item)}: {must}")
    return image, target


def numbers_of(target: Any, what: str) -> Tensor:
    """Return a target of numbers as a tensor: a mask that is a Pillow image by its indices or levels.

    Raises:
        DataError: The target is a picture of colours, or holds no real numbers.
    """
    return to_tensor(check_mask(mask_values(target), what) if isinstance(target, Image.Image) else target, what)


def picture(image: Any, where: str, spec: DataSpec, *, mask: Sequence[int] | None = None) -> Picture:
    """Return the pixels of an item's image.

    Pillow images are read as files of a folder are, arrays by `data.layout` or the shape of their mask.

    Raises:
        DataError: The object is not an image, or cannot be read.
    """
    if isinstance(image, Image.Image):
        mode = mode_of(image)
        try:
            return Picture(to_pixels(image, mode), mode.depth, widens=mode.channels == 1)
        except Exception as error:  # Pillow may read the file only now, and raise nearly anything
            raise DataError(f"data: the image of {where} cannot be read: {describe(error)}") from error
    if not isinstance(image, Tensor) and not hasattr(image, "__array__"):
        hint = ": open the file" if isinstance(image, (str, bytes, PurePath)) else ""
        raise DataError(
            f"data: the image of {where} is {described(image)}, but must be a tensor, an array or a Pillow image{hint}"
        )
    pixels = to_tensor(image, f"the pixels of {where}")
    layout = find_layout(pixels.shape, spec.layout, f"the images ({where})", mask=mask)
    return Picture(channels_first(pixels, layout), f"{str(pixels.dtype).removeprefix('torch.')} {layout}")


def described(value: Any) -> str:
    """Return a description of a value by its type and shape; nested lists are described by their first item.

    Example:
        >>> described((np.zeros((3, 8, 8)), [0, 2], "cat"))
        "(ndarray (3, 8, 8), [int, int], 'cat')"
        >>> described(([[[0.5] * 28] * 28] * 450, 3))
        '(nested lists 450 x 28 x 28 of float, int)'
    """
    if isinstance(value, Image.Image):
        return f"Pillow image {value.mode} {value.height} x {value.width}"
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {described(part)}" for key, part in list(value.items())[:6]) + "}"
    lengths, kind = _nested(value)
    if len(lengths) > 1 and {len(_nested(part)[0]) for part in value[:6]} == {len(lengths) - 1}:
        return f"nested lists {' x '.join(map(str, lengths))} of {kind}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(described, value[:6])) + (", ..." if len(value) > 6 else "")
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    return repr(value) if value is None or (isinstance(value, str) and len(value) < 40) else type(value).__name__


def _nested(values: Any) -> tuple[list[int], str]:
    """Return the lengths of nested lists, following the first item of each, and the type of the innermost item."""
    lengths = []
    while isinstance(values, list) and values:
        lengths.append(len(values))
        values = values[0]
    return lengths, type(values).__name__


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image.Image) or (hasattr(value, "shape") and len(value.shape) > 1)
