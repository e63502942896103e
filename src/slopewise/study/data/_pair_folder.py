"""A folder of pairs of pictures: images and masks, resized alike, or images and images, cut into patches alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._headers import (
    Header,
    about_headers,
    common_of,
    facts_of,
    in_words,
    raise_faults,
    read_headers,
)
from slopewise.study.data._mask_picture import check_mask, mask_values
from slopewise.study.data._picture import PictureMode, opened, to_pixels, upright_size
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._sides import Pair, find_pairs
from slopewise.study.data._stored import StoredImages

Headers = Mapping[Path, Header]


def load_pairs(spec: DataSpec, reader: ImageReader) -> RawData:
    """Load every pair of the folder, of the kind that the reader asks for.

    Masks are read by number and resized by the nearest pixel, their images smoothly, both to `data.image_size`. Images
    whose targets are images are not resized, but cut into patches of `data.image_size`, side by side; the patches of a
    target are larger by the factor between the two.

    Raises:
        DataError: The folder is missing, files have no partner, cannot be decoded or do not fit their partner; they are
            named.
    """
    pairs = find_pairs(spec, reader.targets)
    images, targets = (
        read_headers([getattr(pair, side) for pair in pairs.train + pairs.test], reader) for side in ("image", "target")
    )
    form = (
        _Masked(spec, images)
        if reader.targets == "masks"
        else _Patched(spec, pairs.train + pairs.test, images, targets)
    )
    faults: list[str] = []
    train, train_targets = _read(pairs.train, "training images", form, faults, reader)
    test, test_targets = _read(pairs.test, "test images", form, faults, reader)
    raise_faults(faults)
    return RawData(
        train,
        train_targets,
        test,
        test_targets,
        () if reader.targets == "images" else spec.classes or (),
        flip=True,
        notes=(*pairs.notes, *about_headers([*images.values(), *form.further.values()])),
        reading=in_words(list(images.values()), form.mode) + form.words,
        names=(form.names(pairs.train), form.names(pairs.test)),
        kind=reader.targets,
        data_range=form.data_range,
        pictures=form.facts([*images.values()]),
    )


class _Form(ABC):
    """Form in which pairs are read.

    Attributes:
        mode: Mode of the images.
        image, target: Shape and number type of one of either, as they are stored.
        further: Headers of targets that are pictures like the images.
        words: End of the phrase that describes how pictures were read.
        data_range: Largest possible value of a pixel; None if the number type tells it or it does not matter.
    """

    mode: PictureMode
    image: tuple[tuple[int, ...], torch.dtype]
    target: tuple[tuple[int, ...], torch.dtype]
    further: Headers = MappingProxyType({})
    words = ""
    data_range: float | None = None

    def facts(self, headers: Sequence[Header]) -> dict[str, Any]:  # noqa: ARG002 - patches are not resized
        """Return the facts of images that are resized (`facts_of`); {} if they are not."""
        return {}

    def count(self, pair: Pair) -> int:  # noqa: ARG002 - patches depend on it
        """Return the number of images that a pair gives."""
        return 1

    @abstractmethod
    def read(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """Return the images and targets of a pair, with or without an axis of images."""

    def names(self, pairs: Sequence[Pair]) -> list[str]:
        """Return the names of the images of pairs in messages."""
        return [str(pair.image) for pair in pairs for _ in range(self.count(pair))]


class _Masked(_Form):
    """Images and masks, resized to one size."""

    def __init__(self, spec: DataSpec, images: Headers) -> None:
        self._size = spec.image_size
        self.mode = common_of(images)
        self.image = (self.mode.channels, *self._size), self.mode.dtype
        self.target = self._size, torch.int32

    def facts(self, headers: Sequence[Header]) -> dict[str, Any]:
        return facts_of(headers, self.mode, self._size)

    def read(self, pair: Pair) -> tuple[Tensor, Tensor]:
        with opened(pair.image) as picture:
            size = upright_size(picture)
            pixels = to_pixels(picture, self.mode, size=self._size)
        with opened(pair.target) as picture:
            numbers = mask_values(picture)
        numbers = check_mask(numbers, f"mask '{pair.target}'")
        if numbers.shape != size:
            raise DataError(
                f"data.path: mask '{pair.target}' is {_sizes(numbers.shape)}, but its image '{pair.image}' is "
                f"{_sizes(size)}: bring both to one size"
            )
        resized = Image.fromarray(numbers).resize(self._size[::-1], Image.Resampling.NEAREST)
        return pixels, torch.from_numpy(np.array(resized))


class _Patched(_Form):
    """Images and target images, cut into patches."""

    def __init__(self, spec: DataSpec, pairs: Sequence[Pair], images: Headers, targets: Headers) -> None:
        self._size, self._headers, self.further = spec.image_size, images, targets
        unread = [pair.image for pair in pairs if pair.image not in images]
        raise_faults([_fault(path) for path in unread + [pair.target for pair in pairs if pair.target not in targets]])
        self._factor = self._common_factor(pairs, images, targets)
        common = common_of({**images, **targets})
        modes = [replace(common_of(headers), depth=common.depth) for headers in (images, targets)]
        self.mode, self._target_mode = modes
        self.image = (self.mode.channels, *self._size), self.mode.dtype
        self._larger = tuple(self._factor * size for size in self._size)
        self.target = (self._target_mode.channels, *self._larger), self.mode.dtype
        self.words = f", cut into patches of {_sizes(self._size)}"
        self.data_range = 65535.0 if common.depth == "16 bits" else None

    def _common_factor(self, pairs: Sequence[Pair], images: Headers, targets: Headers) -> int:
        factors = {}
        for pair in pairs:
            size, larger = images[pair.image].size, targets[pair.target].size
            factor = larger[0] // size[0]
            if factor < 1 or larger != (factor * size[0], factor * size[1]):
                raise DataError(
                    f"data.path: '{pair.target}' is {_sizes(larger)}, but its input '{pair.image}' is {_sizes(size)}: "
                    "each size of a target must be that of the input, or the same whole multiple of it"
                )
            if min(size[0] // self._size[0], size[1] // self._size[1]) < 1:
                raise DataError(
                    f"data.image_size: '{pair.image}' of {_sizes(size)} is smaller than a patch of "
                    f"{_sizes(self._size)}: take smaller patches"
                )
            factors[factor] = pair
        if len(factors) > 1:
            (one, first), (other, second) = list(factors.items())[:2]
            raise DataError(
                f"data.path: '{first.target}' is {one} times as large as its input, '{second.target}' {other} times: "
                "give all pairs one factor"
            )
        return next(iter(factors))

    def count(self, pair: Pair) -> int:
        height, width = self._headers[pair.image].size
        return (height // self._size[0]) * (width // self._size[1])

    def read(self, pair: Pair) -> tuple[Tensor, Tensor]:
        with opened(pair.image) as picture:
            image = to_pixels(picture, self.mode)
        with opened(pair.target) as picture:
            target = to_pixels(picture, self._target_mode)
        return _cut(image, *self._size), _cut(target, *self._larger)


def _read(
    pairs: Sequence[Pair], what: str, form: _Form, faults: list[str], reader: ImageReader
) -> tuple[StoredImages, StoredImages]:
    """Read the pairs of one part, and append descriptions of pairs that cannot be read to `faults`."""
    ends = list(accumulate(map(form.count, pairs), initial=0))

    def item(index: int) -> tuple[Tensor, Tensor]:
        try:
            return form.read(pairs[index])
        except DataError as error:
            faults.append(str(error))
            count = ends[index + 1] - ends[index]
            images, targets = (torch.zeros(count, *shape, dtype=dtype) for shape, dtype in (form.image, form.target))
            return images, targets

    shapes = [((ends[-1], *shape), dtype) for shape, dtype in (form.image, form.target)]
    return reader.read_pairs(item, shapes[0], shapes[1], what=what, starts=ends[:-1])


def _cut(pixels: Tensor, height: int, width: int) -> Tensor:
    """Return the patches (N, C, height, width) that fit side by side into an image (C, H, W), row by row."""
    channels, rows, columns = len(pixels), pixels.shape[1] // height, pixels.shape[2] // width
    whole = pixels[:, : rows * height, : columns * width].reshape(channels, rows, height, columns, width)
    return whole.permute(1, 3, 0, 2, 4).reshape(-1, channels, height, width)


def _fault(path: Path) -> str:
    """Return the reason why a file has no header."""
    try:
        with opened(path):
            return f"data.path: cannot decode '{path}': mend, convert or remove it"
    except DataError as error:
        return str(error)


def _sizes(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
