"""Map-style data sets of (image, target), whose items are read once, in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from slopewise.errors import DataError, SlopewiseError
from slopewise.study._references import describe
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._items import Picture, described, image_and_target, numbers_of, picture
from slopewise.study.data._kind_masks import without_channel
from slopewise.study.data._labels import class_numbers
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages

Read = tuple[Tensor | StoredImages, Tensor | StoredImages, str, list[str]]  # images, targets, reading, notes


class _MoreChannelsError(Exception):
    """Coloured picture among grey ones."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.channels = channels


class Items:
    """Items of one part, which must all be like the first."""

    def __init__(self, dataset: Any, part: str, spec: DataSpec, reader: ImageReader) -> None:
        self.dataset, self.part, self.spec, self.reader = dataset, part, spec, reader
        self.kind = reader.targets
        self.labels: list[Any] = [None] * len(dataset)
        self.notes: list[str] = []

    def read(self) -> Read:
        """Read every item once; grey pictures before the first coloured one, twice."""
        first, target = self.item(0)
        channels = len(first.pixels)
        try:
            images, targets = self.read_all(first, target, channels)
        except _MoreChannelsError as error:
            images, targets = self.read_all(first, target, error.channels)
        return images, targets, f"items of {first.scale}", self.notes

    def read_all(self, first: Picture, target: Any, channels: int) -> tuple[StoredImages, Tensor | StoredImages]:
        """Read all items, with images of that many channels."""
        shape = (len(self.labels), channels, *first.pixels.shape[1:])
        what = f"{self.part} images"

        def image(index: int, now: Picture) -> Tensor:
            if index == 0 and not torch.equal(now.pixels, first.pixels):
                self.notes[:] = [self.changing()]
            self.compare(first, now, index)
            if len(now.pixels) > channels:
                raise _MoreChannelsError(len(now.pixels))
            return now.pixels.expand(channels, *now.pixels.shape[1:])

        def image_and_number(index: int) -> Tensor:
            now, self.labels[index] = self.item(index)
            return image(index, now)

        def pair(index: int) -> tuple[Tensor, Tensor]:
            now, other = self.item(index)
            return image(index, now), self.alike(target, other, index)

        if isinstance(target, Picture):
            size = (len(self.labels), *target.pixels.shape)
            return self.reader.read_pairs(
                pair, (shape, first.pixels.dtype), (size, target.pixels.dtype), what=what, threads=1
            )
        images = self.reader.read(image_and_number, shape, first.pixels.dtype, what=what, threads=1)
        return images, self.numbers()

    def item(self, index: int) -> tuple[Picture, Any]:
        """Return the image of one item with its target: a picture of masks and images, else unchanged."""
        where = f"item {index} of the {self.part} set"
        try:
            item = self.dataset[index]
        except SlopewiseError:
            raise
        except Exception as error:  # the user's data set can raise anything
            raise DataError(f"data '{self.spec.source}': reading {where} raised {describe(error)}") from error
        image, target = image_and_target(item, where, self.kind)
        if self.kind == "masks":
            mask = numbers_of(target, f"the mask of {where}")
            pixels = picture(image, where, self.spec, mask=mask.shape)
            return pixels, Picture(without_channel(mask, pixels.pixels.shape[1:]), str(mask.dtype))
        if self.kind == "images":
            target = picture(target, f"the target of {where}", self.spec)
        return picture(image, where, self.spec), target

    def compare(self, first: Picture, now: Picture, index: int) -> None:
        """Refuse an item of another size or scale than the first one."""
        axes = 1 if first.widens or now.widens else 0
        if first.pixels.shape[axes:] != now.pixels.shape[axes:]:
            raise DataError(
                f"data: item {index} of the {self.part} set is an image of {_size(now)}, item 0 one of {_size(first)}: "
                "bring all images to one size in the data set"
            )
        if first.scale != now.scale:
            raise DataError(
                f"data: item {index} of the {self.part} set is {now.scale}, item 0 is {first.scale}: give all images "
                "one number type and scale"
            )

    def alike(self, first: Picture, now: Picture, index: int) -> Tensor:
        """Return the pixels of a target, or refuse it if it is not like the first one."""
        noun = "mask" if self.kind == "masks" else "target"
        for one, other in ((tuple(now.pixels.shape), tuple(first.pixels.shape)), (now.scale, first.scale)):
            if one != other:
                raise DataError(
                    f"data: the {noun} of item {index} of the {self.part} set is {one}, that of item 0 {other}: give "
                    f"all {noun}s one size and number type"
                )
        return now.pixels

    def numbers(self) -> Tensor:
        """Return the targets of all items as one tensor: of labels (N,) integers, else rows of numbers."""
        plain = [label.detach().cpu().numpy() if isinstance(label, Tensor) else label for label in self.labels]
        shapes = [np.shape(label) for label in plain]
        noun = {"labels": "label", "multilabel": "labels"}.get(self.kind, "target")
        if odd := [i for i, shape in enumerate(shapes) if shape != shapes[0]]:
            must = ": a label must be one integer class" if self.kind == "labels" else ""
            raise DataError(
                f"data: the {noun} of item {odd[0]} of the {self.part} set is {described(self.labels[odd[0]])}, that "
                f"of item 0 is {described(self.labels[0])}{must}"
            )
        if self.kind == "labels":
            return class_numbers(np.array(plain), f"{self.part} labels", self.spec.classes)
        return numbers_of(np.array(plain), f"{self.part} {'labels' if self.kind == 'multilabel' else 'values'}")

    def changing(self) -> str:
        """Return a note about items that differ each time they are read."""
        return (
            f"item 0 of the {self.part} set is another image when it is read again: leave random changes to "
            "data.augment, since items are read once and the same for all arms"
        )


def _size(image: Picture) -> str:
    channels, *sizes = image.pixels.shape
    return f"{' x '.join(map(str, sizes))} with {channels} channel{'s' * (channels != 1)}"
