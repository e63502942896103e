"""Images and targets given as whole arrays: from NumPy or torch to raw data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._labels import class_numbers
from slopewise.study.data._layout import channels_first, find_layout
from slopewise.study.data._stored import StoredImages
from slopewise.study.data._targets import TargetKind


def from_arrays(x_train: Any, y_train: Any, x_test: Any, y_test: Any, spec: DataSpec, kind: TargetKind) -> RawData:
    """Make raw data from arrays or tensors, with classes named by `data.classes` or else by their numbers.

    Raises:
        DataError: The targets are not of their kind, or the axes of the images are ambiguous.
    """
    train, test = part_of(x_train, y_train, "training", spec, kind), part_of(x_test, y_test, "test", spec, kind)
    return RawData(
        train.images,
        train.targets,
        test.images,
        test.targets,
        classes_of(train.targets, test.targets, spec, kind),
        flip=kind == "images",
        reading=train.reading,
        kind=kind,
    )


class Part(NamedTuple):
    """Images (N, C, *spatial sizes) and targets of a part, and a phrase that describes how the images were read."""

    images: Tensor | StoredImages
    targets: Tensor | StoredImages
    reading: str


def part_of(images: Any, targets: Any, part: str, spec: DataSpec, kind: TargetKind) -> Part:
    """Read the images and targets of a part.

    Raises:
        DataError: The arrays hold no images, or no such targets, or their axes are ambiguous.
    """
    if kind == "labels":
        labels = class_numbers(targets, f"{part} labels", spec.classes)
        pixels, reading = _images_of(images, part, spec)
        return Part(pixels, labels, reading)
    noun = {"images": "targets", "multilabel": "labels"}.get(kind, kind)
    numbers = to_tensor(targets, f"{part} {noun}")
    if numbers.ndim == 0:
        raise DataError(f"data: {part} {noun} are a single number")
    if kind == "images":
        numbers = channels_first(numbers, find_layout(numbers.shape[1:], spec.layout, f"{part} targets"))
    pixels, reading = _images_of(images, part, spec, mask=numbers.shape[1:] if kind == "masks" else None)
    return Part(pixels, numbers, reading)


def _images_of(array: Any, part: str, spec: DataSpec, mask: Sequence[int] | None = None) -> tuple[Tensor, str]:
    images = to_tensor(array, f"{part} images")
    if not len(images):
        raise DataError(f"data: no {part} images")
    layout = find_layout(images.shape[1:], spec.layout, f"{part} images", mask=mask)
    return channels_first(images, layout), f"arrays of {str(images.dtype).removeprefix('torch.')}, {layout}"


def classes_of(train: Any, test: Any, spec: DataSpec, kind: TargetKind) -> tuple[str, ...]:
    """Return the names of the classes, or none where the preparation of the targets finds them.

    Raises:
        DataError: There are more labels than names.
    """
    return class_names(train, test, spec) if kind == "labels" else (() if kind == "images" else spec.classes or ())


def class_names(train_labels: Tensor, test_labels: Tensor, spec: DataSpec) -> tuple[str, ...]:
    """Return the names of the classes: `data.classes`, or the numbers from 0 to the largest label.

    Raises:
        DataError: There are more labels than names.
    """
    labels = torch.cat([train_labels, test_labels])
    count = int(labels.max()) + 1 if len(labels) else 0
    if spec.classes is None:
        return tuple(map(str, range(count)))
    if len(spec.classes) < count:
        raise DataError(f"data.classes: names {len(spec.classes)} classes, but labels run to {count - 1}")
    return spec.classes


def to_tensor(array: Any, what: str) -> Tensor:
    """Return an array as a tensor of real numbers on the CPU, without a change of the number type.

    The exceptions are floating-point numbers of more than 64 bits, which become float64.

    Raises:
        DataError: The array does not hold real numbers.
    """
    if isinstance(array, Tensor):
        tensor = array.detach().cpu()
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
    else:
        if np.ma.is_masked(array):
            raise DataError(f"data: {what} have masked pixels, whose values mean nothing: fill them first")
        numbers = np.asarray(array)
        if numbers.dtype.kind not in "biufc":
            raise DataError(f"data: {what} are {numbers.dtype}, but must be real numbers of one shape: stack them")
        if numbers.dtype.kind == "f" and numbers.dtype.itemsize > 8:
            numbers = numbers.astype(np.float64)
        # torch takes neither foreign byte orders nor negative strides, and warns of what it may not write to.
        numbers = np.require(numbers, numbers.dtype.newbyteorder("="), ["C", "W"])
        tensor = torch.from_numpy(numbers)
    if tensor.is_complex():
        raise DataError(f"data: {what} are {tensor.dtype}, but must be real numbers")
    return tensor.as_subclass(Tensor)
