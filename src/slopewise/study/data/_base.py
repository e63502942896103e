"""The contract of a data source, and the data that a trial gets from any source.

A source is a function `load(spec: DataSpec, reader: ImageReader) -> RawData` with a name (`register_source`), and
perhaps suffixes of files that stand for it. It returns images and targets unchanged; the kind of targets that the
study's task asks for is `reader.targets` (see `_targets`), and a source that has no such targets raises `DataError`.
Images that are read one by one go through `reader.read`, which reads them in parallel and stores them; a source that
has a whole tensor may return the tensor. Settings of its own are in `spec.options`. Checks, the class-balanced subset
and normalisation are done once, for all sources, by `prepare`. Two loads return the same data, whatever the state of
random generators. A source raises `DataError` with a message that names the file and says what to do.
`slopewise.testing.check_data_source` checks this.

Trials get images as an object with `len()` and a `shape` of (N, C, H, W) that returns a float tensor (B, C, H, W) for
an index tensor (B,): `NormalisedImages`, or a tensor. Images may be volumes, (N, C, D, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from slopewise.study.data._stored import StoredImages
from slopewise.study.data._targets import TargetKind, Targets


class Images(Protocol):
    """Images that can be gathered by index, as the module's docstring describes, for instance a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (N, C, H, W)."""

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return the images (B, C, H, W) of an index (B,)."""

    def __len__(self) -> int:
        """Return the number N of images."""


class _PickledAsArrays:
    """Base of classes whose tensors are pickled as NumPy arrays.

    PyTorch pickles tensors for other processes through files in /dev/shm, which is small in containers.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(
            (name, torch.from_numpy(value) if isinstance(value, np.ndarray) else value) for name, value in state.items()
        )


class NormalisedImages(_PickledAsArrays):
    """Stored images, or the selection of an index, normalised on access.

    The pixels of an image are gathered from the store, converted to float32, reduced by the mean of their channel and
    divided by its deviation. The operations on an image do not depend on its batch.

    Example:
        >>> pixels = StoredImages((2, 1, 1, 1), torch.uint8)
        >>> pixels.write(0, torch.tensor([3, 7], dtype=torch.uint8).view(2, 1, 1, 1))
        >>> NormalisedImages(pixels, mean=torch.tensor([5.0]), deviation=torch.tensor([2.0]))[torch.tensor([1])]
        tensor([[[[1.]]]])
    """

    def __init__(self, pixels: StoredImages, *, mean: Tensor, deviation: Tensor, index: Tensor | None = None) -> None:
        self._pixels, self._index = pixels, index
        channels = (-1, *[1] * (len(pixels.shape) - 2))
        self._mean, self._deviation = mean.view(channels), deviation.view(channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (N, C, H, W)."""
        return (len(self), *self._pixels.shape[1:])

    def __len__(self) -> int:
        return len(self._pixels if self._index is None else self._index)

    def __getitem__(self, index: Tensor) -> Tensor:
        chosen = index if self._index is None else self._index[index]
        return self._pixels.tensor[chosen].to(torch.float32).sub(self._mean).div_(self._deviation)


@dataclass(frozen=True)
class RawData:
    """Data as a source returns them: images of any number type, targets of the kind `kind`, and names of classes.

    `flip` is True if a mirrored image still belongs to its class. `notes` are sentences about data that were left out
    or may be misinterpreted, and `reading` is a phrase that describes how the images were read. `names` are the names
    of the training and test images in messages; None names images by number.
    """

    train_images: Tensor | StoredImages
    train_targets: Tensor
    test_images: Tensor | StoredImages
    test_targets: Tensor
    classes: tuple[str, ...]
    flip: bool = False
    notes: tuple[str, ...] = ()
    reading: str = ""
    names: tuple[Sequence[str], Sequence[str]] | None = None
    kind: TargetKind = "labels"


@dataclass(frozen=True)
class ImageData(_PickledAsArrays):
    """Data of a trial: float32 images of zero mean and unit deviation per channel, and targets of the kind `kind`.

    `classes` are the names that the kind of targets has (see `TargetKind`); `flip` is True if a mirrored image still
    belongs to its target.
    `notes` are sentences for the user about data that were left out, or are perhaps not as intended. `reading` is a
    phrase that describes how the images were read.
    """

    name: str
    train_images: Images
    train_targets: Targets
    test_images: Images
    test_targets: Targets
    classes: tuple[str, ...]
    flip: bool
    digest: str
    notes: tuple[str, ...] = ()
    reading: str = ""
    kind: TargetKind = "labels"

    @property
    def in_channels(self) -> int:
        """Number of channels of an image."""
        return self.train_images.shape[1]

    def facts(self) -> dict[str, Any]:
        """Return the facts of the data for the store and the report."""
        return {
            "name": self.name,
            "digest": self.digest,
            "shape": list(self.train_images.shape[1:]),
            "train_and_validation_images": len(self.train_targets),
            "test_images": len(self.test_targets),
            "classes": list(self.classes),
            "reading": self.reading,
            "notes": list(self.notes),
            **self._by_class(),
        }

    def _by_class(self) -> dict[str, list[int]]:
        if self.kind != "labels":
            return {}
        parts = {"train_and_validation_images": self.train_targets, "test_images": self.test_targets}
        return {
            f"{part}_by_class": torch.bincount(labels[torch.arange(len(labels))], minlength=len(self.classes)).tolist()
            for part, labels in parts.items()
        }
