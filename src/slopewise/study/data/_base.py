"""The contract of a data source, and what a trial gets from any of them.

A source is a function `load(spec: DataSpec) -> RawData` in a file of this folder, listed in `SOURCES`. It returns
images and labels as they are; checks, the class-balanced subset and normalisation are done once, for all sources,
by `prepare`. It raises `DataError`, in words that name the file and say what to do.

Images are anything with `len()` and a `shape` of (N, C, H, W) that gives a float tensor (B, C, H, W) for an index
tensor (B,): a tensor, or `LazyImages` where the data do not fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class DataWarning(UserWarning):
    """The data can be used, but part of them was left out, or something in them may not be as intended."""


class Images(Protocol):
    """Images that can be gathered by index: see the module's words. A tensor is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    def __getitem__(self, index: Tensor) -> Tensor:
        """The images (B, C, H, W) of an index (B,)."""

    def __len__(self) -> int:
        """N."""


class LazyImages:
    """Images read when they are asked for, one by one through `read(i) -> (C, H, W)`, by `map`, which may be a pool's.

    Example:
        >>> images = LazyImages(lambda i: torch.full((1, 2, 2), float(i)), (3, 1, 2, 2))
        >>> images[torch.tensor([2, 0])][:, 0, 0, 0]
        tensor([2., 0.])
    """

    def __init__(
        self,
        read: Callable[[int], Tensor],
        shape: tuple[int, ...],
        mapping: Callable[..., Any] = map,
    ) -> None:
        self._read, self.shape, self._map = read, shape, mapping

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        return torch.stack(list(self._map(self._read, index.tolist())))

    def then(self, change: Callable[[Tensor], Tensor], index: Tensor | None = None) -> LazyImages:
        """The same images with a change applied after reading, and optionally only those of an index."""
        if index is None:
            index = torch.arange(len(self))
        positions = index.tolist()
        return LazyImages(lambda i: change(self._read(positions[i])), (len(positions), *self.shape[1:]), self._map)


@dataclass(frozen=True)
class RawData:
    """What a source returns: images of any number type, integer labels 0..K-1, class names, and its advice.

    `flip` says whether a mirrored image still belongs to its class. `notes` are sentences about what was left out or
    may be meant otherwise, `reading` says in a phrase how the images were read. `names` are of training and test
    images, for messages; without them images are named by number.
    """

    train_images: Tensor | LazyImages
    train_labels: Tensor
    test_images: Tensor | LazyImages
    test_labels: Tensor
    classes: tuple[str, ...]
    flip: bool = False
    notes: tuple[str, ...] = ()
    reading: str = ""
    names: tuple[Sequence[str], Sequence[str]] | None = None


@dataclass(frozen=True)
class ImageData:
    """What a trial trains on: float32 images of zero mean and unit deviation per channel, and int64 labels.

    `notes` are sentences for the user: what was left out of the data, and what in them may not be as intended.
    `reading` says in a phrase how the images were read.
    """

    name: str
    train_images: Images
    train_labels: Tensor
    test_images: Images
    test_labels: Tensor
    classes: tuple[str, ...]
    flip: bool
    digest: str
    notes: tuple[str, ...] = ()
    reading: str = ""

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.train_images.shape[1]

    def facts(self) -> dict[str, Any]:
        """What the store and the report say about the data."""
        return {
            "name": self.name,
            "digest": self.digest,
            "shape": list(self.train_images.shape[1:]),
            "train_and_validation_images": len(self.train_labels),
            "test_images": len(self.test_labels),
            "classes": list(self.classes),
            "reading": self.reading,
            "notes": list(self.notes),
            "train_and_validation_images_by_class": _by_class(self.train_labels, len(self.classes)),
            "test_images_by_class": _by_class(self.test_labels, len(self.classes)),
        }


def _by_class(labels: Tensor, classes: int) -> list[int]:
    counts: list[int] = torch.bincount(labels, minlength=classes).tolist()
    return counts
