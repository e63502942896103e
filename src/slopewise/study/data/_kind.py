"""Parts that the preparation of every kind of targets has in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from slopewise.errors import DataError
from slopewise.study.data._base import RawData
from slopewise.study.data._gathered import Gathered

PARTS = ("training", "test")


@dataclass(frozen=True)
class PreparedTargets:
    """Checked targets of both parts, as trials get them.

    Attributes:
        train, test: Targets of all images of the part.
        classes: Names of the classes, labels or values.
        notes: Sentences about targets that are perhaps not as intended.
        data_range: Largest possible value of a pixel, by which images are divided; None standardises them instead.
    """

    train: Tensor | Gathered
    test: Tensor | Gathered
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    data_range: float | None = None


def parts_of(raw: RawData) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, images and targets of the training and the test part."""
    yield PARTS[0], raw.train_images, raw.train_targets
    yield PARTS[1], raw.test_images, raw.test_targets


def check_counts(raw: RawData, noun: str) -> None:
    """Refuse parts with another number of targets than images.

    Args:
        raw: Data of a source.
        noun: Noun for one target, such as "label".

    Raises:
        DataError: The numbers differ.
    """
    for part, images, targets in parts_of(raw):
        if len(images) != len(targets):
            axes = tuple(images.shape)
            elsewhere = ": the images must lie along the first axis, transpose them" if len(targets) in axes else ""
            raise DataError(
                f"data: {len(images)} {part} images but {len(targets)} {noun}s: there must be one {noun} an image"
                f"{elsewhere}"
            )


def place(raw: RawData, part: int, index: int) -> str:
    """Return the name of an image in messages: its file, or its part and number."""
    return f"'{raw.names[part][index]}'" if raw.names else f"{PARTS[part]} image {index}"
