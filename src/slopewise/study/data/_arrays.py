"""Images and labels given as whole arrays: from NumPy or torch to raw data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._labels import class_numbers
from slopewise.study.data._layout import channels_first, find_layout


def from_arrays(x_train: Any, y_train: Any, x_test: Any, y_test: Any, spec: DataSpec) -> RawData:
    """Make raw data from arrays or tensors, with classes named by `data.classes` or else by their numbers.

    Raises:
        DataError: The labels are not integers, or the axes of the images are ambiguous.
    """
    train_labels = class_numbers(y_train, "training labels", spec.classes)
    test_labels = class_numbers(y_test, "test labels", spec.classes)
    train, reading = images_of(x_train, "training", spec)
    test, _ = images_of(x_test, "test", spec)
    return RawData(
        train, train_labels, test, test_labels, class_names(train_labels, test_labels, spec), reading=reading
    )


def images_of(array: Any, part: str, spec: DataSpec) -> tuple[Tensor, str]:
    """Return the images (N, C, *spatial sizes) of an array, and a phrase that describes how the array was read.

    Raises:
        DataError: The array holds no images, or its axes are ambiguous.
    """
    images = to_tensor(array, f"{part} images")
    if not len(images):
        raise DataError(f"data: no {part} images")
    layout = find_layout(images.shape[1:], spec.layout, f"{part} images")
    return channels_first(images, layout), f"arrays of {str(images.dtype).removeprefix('torch.')}, {layout}"


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
