"""The contract of a data source, and what a trial gets from any of them.

A source is a function `load(spec: DataSpec, reader: ImageReader) -> RawData` in a file of this folder, listed in
`SOURCES`. It returns images and labels as they are: images that it reads one by one go through `reader.read`, which
does so in parallel and stores them; what it has as a whole tensor it may return as one. Checks, the class-balanced
subset and normalisation are done once, for all sources, by `prepare`. It raises `DataError`, in words that name the
file and say what to do.

Trials get images as anything with `len()` and a `shape` of (N, C, H, W) that gives a float tensor (B, C, H, W) for an
index tensor (B,): `NormalisedImages`, or a tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from slopewise.errors import SlopewiseWarning
from slopewise.study.data._stored import StoredImages


class DataWarning(SlopewiseWarning):
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


class NormalisedImages:
    """Stored images, or those of them that an index names, normalised as they are asked for.

    An image is gathered from the pixels as they are kept, made float32, and has the mean of its channel taken away
    and is divided by the deviation: the same operations on every image, in whatever batch it stands.

    Example:
        >>> pixels = StoredImages((2, 1, 1, 1), torch.uint8)
        >>> pixels.write(0, torch.tensor([3, 7], dtype=torch.uint8).view(2, 1, 1, 1))
        >>> NormalisedImages(pixels, mean=torch.tensor([5.0]), deviation=torch.tensor([2.0]))[torch.tensor([1])]
        tensor([[[[1.]]]])
    """

    def __init__(self, pixels: StoredImages, *, mean: Tensor, deviation: Tensor, index: Tensor | None = None) -> None:
        self._pixels, self._index = pixels, index
        self._mean, self._deviation = mean.view(-1, 1, 1), deviation.view(-1, 1, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self), *self._pixels.shape[1:])

    def __len__(self) -> int:
        return len(self._pixels if self._index is None else self._index)

    def __getitem__(self, index: Tensor) -> Tensor:
        chosen = index if self._index is None else self._index[index]
        return self._pixels.tensor[chosen].to(torch.float32).sub(self._mean).div_(self._deviation)

    def __getstate__(self) -> dict[str, Any]:
        return _without_tensors(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(_with_tensors(state))


@dataclass(frozen=True)
class RawData:
    """What a source returns: images of any number type, integer labels 0..K-1, class names, and its advice.

    `flip` says whether a mirrored image still belongs to its class. `notes` are sentences about what was left out or
    may be meant otherwise, `reading` says in a phrase how the images were read. `names` are of training and test
    images, for messages; without them images are named by number.
    """

    train_images: Tensor | StoredImages
    train_labels: Tensor
    test_images: Tensor | StoredImages
    test_labels: Tensor
    classes: tuple[str, ...]
    flip: bool = False
    notes: tuple[str, ...] = ()
    reading: str = ""
    names: tuple[Sequence[str], Sequence[str]] | None = None


@dataclass(frozen=True)
class ImageData:
    """Data of a trial: float32 images of zero mean and unit deviation per channel, and int64 labels.

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

    def __getstate__(self) -> dict[str, Any]:
        return _without_tensors(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(_with_tensors(state))

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


# PyTorch pickles tensors for other processes through files in /dev/shm, which containers give little room.
def _without_tensors(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in state.items()}


def _with_tensors(state: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in state.items()}
