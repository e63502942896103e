"""The user's own data: `module:callable` that returns a training and a test data set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from slopewise.errors import DataError
from slopewise.study._references import describe, resolve
from slopewise.study._spec import DataSpec
from slopewise.study.data._arrays import channels_first
from slopewise.study.data._base import LazyImages, RawData


def load(spec: DataSpec) -> RawData:
    """Call `source(**options)`; it returns (train, test), each a map-style data set of (image, label).

    An image is a tensor (C, H, W) or (H, W), an array (H, W, C) or (H, W), or a PIL image; labels are integers from 0.
    Items are read once and kept where they fit `data.memory_gib`, so leave random augmentation to `data.augment`.

    Raises:
        DataError: the callable raises, or returns something else.
    """
    source = resolve(spec.source)
    try:
        sets = source(**spec.options)
    except (Exception, SystemExit) as error:  # the user's code can raise anything
        raise DataError(f"data '{spec.source}' raised {describe(error)}") from error
    if not isinstance(sets, (tuple, list)) or len(sets) != 2:
        raise DataError(f"data '{spec.source}' must return two data sets (train, test), not {type(sets).__name__}")
    train, test = sets
    train_images, train_labels = _read(train, "training", spec)
    test_images, test_labels = _read(test, "test", spec)
    names = getattr(train, "classes", None)
    count = int(max(train_labels.max(), test_labels.max())) + 1
    classes = tuple(map(str, names)) if names is not None and len(names) >= count else tuple(map(str, range(count)))
    return RawData(train_images, train_labels, test_images, test_labels, classes)


def _read(dataset: Dataset[Any], part: str, spec: DataSpec) -> tuple[Tensor | LazyImages, Tensor]:
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or len(dataset) == 0:
        raise DataError(
            f"data '{spec.source}': the {part} set is {type(dataset).__name__}, which has no items by number: "
            "return a map-style data set with at least one (image, label)"
        )
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return channels_first(dataset.tensors[0], part), dataset.tensors[1].flatten().long()
    try:
        first = _to_tensor(dataset[0][0])
        shape = (len(dataset), *first.shape)
        if 4 * math.prod(shape) > spec.memory_gib * 2**30:
            labels = torch.tensor([int(dataset[i][1]) for i in range(len(dataset))])
            return LazyImages(lambda i: _to_tensor(dataset[i][0]), shape), labels
        images, labels = torch.empty(shape, dtype=first.dtype), torch.empty(len(dataset), dtype=torch.int64)
        for i in range(len(dataset)):
            image, label = dataset[i]
            images[i], labels[i] = _to_tensor(image), int(label)
    except Exception as error:  # the user's data set can raise anything
        raise DataError(f"data '{spec.source}': reading the {part} set raised {describe(error)}") from error
    return images, labels


def _to_tensor(image: Any) -> Tensor:
    if isinstance(image, Tensor):
        return image if image.ndim == 3 else image[None]
    array = np.array(image)  # PIL images too; a copy, since theirs are read-only
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))
