"""Labels: integers that number the classes, in the few forms that leave no doubt."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slopewise.errors import DataError, nearest

_INSTEAD = (
    "a label must be one integer class; masks are for the task segmentation, several labels for multilabel, values for "
    "regression"
)


def class_numbers(labels: Any, what: str, names: Sequence[str] | None) -> Tensor:
    """Convert labels to int64 (N,).

    Accepted are integers, booleans and whole floating-point numbers, each also in the shape (N, 1), one-hot rows, and
    text if `data.classes` gives the order of the classes.

    Args:
        labels: Array or tensor of N labels.
        what: Subject of the error, such as "training labels".
        names: Value of `data.classes`.

    Raises:
        DataError: The labels are not classes.

    Example:
        >>> class_numbers(np.array([2.0, 0.0, 1.0]), "labels", None), class_numbers(np.eye(3), "labels", None)
        (tensor([2, 0, 1]), tensor([0, 1, 2]))
        >>> class_numbers(np.array(["dog", "cat"]), "labels", ["cat", "dog"])
        tensor([1, 0])
    """
    array = _numbers(labels.detach().cpu()) if isinstance(labels, Tensor) else np.asarray(labels)
    while array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype.kind in "SUO" and array.ndim == 1 and array.size and all(map(_is_text, array.tolist())):
        array = _numbered([_text(label) for label in array.tolist()], what, names)
    if array.dtype.kind == "O":
        if odd := [label for label in array.flat if not isinstance(label, Real)]:
            raise DataError(
                f"data: {what} are not all numbers (one is {odd[0]!r:.40}), but must be integers 0, 1, ...: {_INSTEAD}"
            )
        array = np.array(array.tolist())
    if array.dtype.kind not in "biuf":
        raise DataError(f"data: {what} are {array.dtype}, but must be integers 0, 1, ...: {_INSTEAD}")
    if array.ndim == 2 and array.size and _is_one_hot(array):
        array = array.argmax(axis=1)
    if array.ndim != 1:
        raise DataError(f"data: {what} have shape {array.shape}, one of {array.shape[1:]} an image: {_INSTEAD}")
    if array.dtype.kind == "f":
        broken = array[~np.isfinite(array) | (array != np.floor(array))]
        if broken.size:
            raise DataError(
                f"data: {what} are {array.dtype} such as {broken[0]:.4g}, but must be integers 0, 1, ...: {_INSTEAD}"
            )
    return torch.from_numpy(array.astype(np.int64))


def _numbers(labels: Tensor) -> np.ndarray[Any, Any]:
    return (labels.float() if labels.dtype == torch.bfloat16 else labels).numpy()


def _is_text(label: object) -> bool:
    return isinstance(label, (str, bytes))


def _text(label: str | bytes) -> str:
    return label.decode(errors="replace") if isinstance(label, bytes) else label


def _numbered(labels: list[str], what: str, names: Sequence[str] | None) -> np.ndarray[Any, Any]:
    if names is None:
        examples = ", ".join(repr(label) for label in sorted(set(labels))[:3])
        raise DataError(
            f"data: {what} are text ({examples}, ...), but must be integers 0, 1, ...: number them, or name the "
            "classes in the order of their numbers in data.classes"
        )
    order = {name: number for number, name in enumerate(names)}
    if unknown := [label for label in labels if label not in order]:
        raise DataError(f"data.classes: there are {what} '{unknown[0]}'; {nearest(unknown[0], names)}")
    return np.array([order[label] for label in labels])


def _is_one_hot(array: np.ndarray[Any, Any]) -> bool:
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())
