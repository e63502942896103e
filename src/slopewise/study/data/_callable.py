"""The user's own data: `module:callable` that returns a training and a test data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset

from slopewise.errors import DataError
from slopewise.study._references import describe, resolve
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._arrays import classes_of, part_of
from slopewise.study.data._base import RawData
from slopewise.study.data._dataset import Items, Read
from slopewise.study.data._items import described
from slopewise.study.data._parts import listed
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._targets import TargetKind


def load(spec: DataSpec, reader: ImageReader) -> RawData:
    """Call `source(**options)`; it returns (train, test), each a map-style data set of (image, label).

    An image is a tensor or array of axes (C, H, W), (H, W, C) or (H, W), see `data.layout`, or a Pillow image; labels
    are integers from 0. For other tasks, the second of an item is a mask (an array, a tensor or a Pillow image of
    levels or of a palette), an image, or one or several numbers. A pair of arrays (images, targets) or a
    `TensorDataset` of two tensors may take the place of a data set. Items are read once, in order and by one thread, so
    leave random augmentation to `data.augment`.

    Raises:
        DataError: The callable raises, or returns something else.
    """
    source = resolve(spec.source)
    try:
        sets = source(**spec.options)
    except (Exception, SystemExit) as error:  # the user's code can raise anything
        raise DataError(f"data '{spec.source}' raised {describe(error)}") from error
    if not isinstance(sets, (tuple, list)) or len(sets) != 2:
        raise DataError(f"data '{spec.source}' must return two data sets (train, test), not {_in_words(sets)}")
    if _as_arrays(sets) is not None and (np.ndim(sets[1]) == 1 or reader.targets != "labels"):
        raise DataError(
            f"data '{spec.source}' must return two data sets (train, test), not images and labels {described(sets)}: "
            "return ((x_train, y_train), (x_test, y_test))"
        )
    train, test = sets
    train_images, train_targets, reading, notes = _read(train, "training", spec, reader)
    test_images, test_targets, _, more = _read(test, "test", spec, reader)
    kind = reader.targets
    return RawData(
        train_images,
        train_targets,
        test_images,
        test_targets,
        _classes(train, test, classes_of(train_targets, test_targets, spec, kind), spec, kind),
        flip=kind == "images",
        notes=(*notes, *more),
        reading=reading,
        kind=kind,
    )


def _in_words(sets: Any) -> str:
    if isinstance(sets, (tuple, list)):
        return f"{described(sets)}, which are {len(sets)}: return ((x_train, y_train), (x_test, y_test))"
    keys = f" with {listed(list(map(repr, sets)))}: return the two in a tuple" if isinstance(sets, Mapping) else ""
    return f"{type(sets).__name__}{keys}"


def _read(dataset: Any, part: str, spec: DataSpec, reader: ImageReader) -> Read:
    """Return the images and targets of a part, a phrase that describes how they were read, and notes."""
    if (arrays := _as_arrays(dataset)) is not None:
        images, labels, reading = part_of(arrays[0], arrays[1], part, spec, reader.targets)
        return images, labels, reading, []
    if _is_pair_of_lists(dataset):
        raise DataError(
            f"data '{spec.source}': the {part} set is {described(dataset)}: make arrays of the two lists, np.array(...)"
        )
    if isinstance(dataset, DataLoader):
        raise DataError(f"data '{spec.source}': the {part} set is a DataLoader: return its data set, loader.dataset")
    by_number = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if isinstance(dataset, IterableDataset) or not by_number or len(dataset) == 0:
        raise DataError(
            f"data '{spec.source}': the {part} set is {type(dataset).__name__}, which has no items by number: "
            "return a map-style data set with at least one (image, label)"
        )
    return Items(dataset, part, spec, reader).read()


def _as_arrays(dataset: Any) -> Sequence[Any] | None:
    """Return images and labels given as whole arrays, else None: a subclass may do more than return its arrays."""
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors
    if isinstance(dataset, (tuple, list)) and len(dataset) == 2:
        images, labels = dataset
        if all(isinstance(array, (Tensor, np.ndarray)) for array in dataset) and images.ndim >= labels.ndim > 0:
            return images, labels
    return None


def _is_pair_of_lists(dataset: Any) -> bool:
    """Return True for images and labels in two lists. Of two (image, label) items, the second is no list of labels."""
    if not (isinstance(dataset, (tuple, list)) and len(dataset) == 2 and all(isinstance(p, list) for p in dataset)):
        return False
    images, labels = dataset
    return len(images) == len(labels) and all(isinstance(label, (int, str)) for label in labels)


def _classes(train: Any, test: Any, numbers: tuple[str, ...], spec: DataSpec, kind: TargetKind) -> tuple[str, ...]:
    """Return the names that the data sets give the classes, else those of the numbers."""
    if spec.classes is not None or kind in ("values", "images"):
        return numbers
    names, others = _names(train), _names(test)
    if names and others and names != others:
        one, other = next((a, b) for a, b in zip((*names, "nothing"), (*others, "nothing"), strict=False) if a != b)
        raise DataError(
            f"data '{spec.source}': the training and test sets name their classes differently ('{one}' and '{other}'), "
            "so that one label stands for two things: bring both to the same classes"
        )
    if names and len(names) < len(numbers):
        raise DataError(
            f"data '{spec.source}': the training set names {len(names)} classes, but labels run to {len(numbers) - 1}"
        )
    return names or numbers


def _names(dataset: Any) -> tuple[str, ...] | None:
    """Return the class names of a data set; a `Subset` or `ConcatDataset` has those of the data sets inside."""
    if isinstance(dataset, Subset):
        return _names(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        of_parts = [_names(part) for part in dataset.datasets]
        if len(set(of_parts)) > 1 and None not in of_parts:
            raise DataError(
                "data: the data sets joined by ConcatDataset name their classes differently, so that one label stands "
                "for two things: bring them to the same classes"
            )
        return of_parts[0] if of_parts else None
    names = getattr(dataset, "classes", None)
    listed = isinstance(names, (list, tuple)) and all(isinstance(name, (str, int)) for name in names)
    return tuple(map(str, names)) if names and listed else None
