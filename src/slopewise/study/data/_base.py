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
an index tensor (B,), see `_gathered`, or as a tensor. Images may be volumes, (N, C, D, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from slopewise.study.data._gathered import Gathered, PickledAsArrays
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


@dataclass(frozen=True)
class RawData:
    """Data as a source returns them: images of any number type, targets of the kind `kind`, and names of classes.

    Targets have the shape that `_targets` states for their kind, in any number type; masks and images among them may be
    stored like images. `classes` may be empty where the numbers of the targets tell the classes. `data_range` is the
    largest possible value of a pixel, None if the number type tells it (255, 65535, or 1 for floating point).

    `flip` is True if a mirrored image still belongs to its class. `notes` are sentences about data that were left out
    or may be misinterpreted, and `reading` is a phrase that describes how the images were read. `names` are the names
    of the training and test images in messages; None names images by number. `pictures` are the facts of picture files
    that were resized (`_headers.facts_of`), which tell how another picture is to be read.
    """

    train_images: Tensor | StoredImages
    train_targets: Tensor | StoredImages
    test_images: Tensor | StoredImages
    test_targets: Tensor | StoredImages
    classes: tuple[str, ...]
    flip: bool = False
    notes: tuple[str, ...] = ()
    reading: str = ""
    names: tuple[Sequence[str], Sequence[str]] | None = None
    kind: TargetKind = "labels"
    data_range: float | None = None
    pictures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageData(PickledAsArrays):
    """Data of a trial: float32 images, and targets of the kind `kind`.

    Images have zero mean and unit deviation per channel. Where the targets are images, both run from 0 to 1: they are
    divided by `data_range`, which is None for other targets.

    `classes` are the names that the kind of targets has (see `TargetKind`); `flip` is True if a mirrored image still
    belongs to its target.
    `notes` are sentences for the user about data that were left out, or are perhaps not as intended. `reading` is a
    phrase that describes how the images were read, and `pictures` are the facts of picture files that were
    resized (`_headers.facts_of`).
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
    data_range: float | None = None
    pictures: Mapping[str, Any] = field(default_factory=dict)

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
            **({"pictures": dict(self.pictures)} if self.pictures else {}),
            **(self.train_images.scale() if isinstance(self.train_images, Gathered) else {}),
            **(self._by_class() if self.kind == "labels" else self._about_targets()),
        }

    def _about_targets(self) -> dict[str, Any]:
        range_ = {} if self.data_range is None else {"data_range": self.data_range}
        return {"targets": self.kind, "target_shape": list(self.train_targets.shape[1:]), **range_}

    def _by_class(self) -> dict[str, list[int]]:
        parts = {"train_and_validation_images": self.train_targets, "test_images": self.test_targets}
        return {
            f"{part}_by_class": torch.bincount(labels[torch.arange(len(labels))], minlength=len(self.classes)).tolist()
            for part, labels in parts.items()
        }
