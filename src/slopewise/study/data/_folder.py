"""A folder of images: one directory a class, in any format that Pillow reads, resized to one size.

`PATH/train/CLASS/*` and `PATH/test/CLASS/*`, or only `PATH/CLASS/*`, of which a fixed fifth becomes the test set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study.data._base import LazyImages, RawData
from slopewise.study.data._discover import discover
from slopewise.study.data._headers import Header, about_headers, in_words, read_header
from slopewise.study.data._picture import PictureMode, common_mode, read_picture

_DECODERS = 4  # threads; Pillow releases the interpreter lock while it decodes


def load(spec: DataSpec) -> RawData:
    """Every image of the folder, decoded once, in memory where that fits `data.memory_gib`.

    Raises:
        DataError: the folder is missing, a class has no image, or files cannot be decoded; they are named.
    """
    files = discover(spec)
    mode, reading, notes = _survey(files.train + files.test, spec.image_size)
    readers = [_Reader(part, size=spec.image_size, mode=mode) for part in (files.train, files.test)]
    keep = 4 * sum(math.prod(part.shape) for part in readers) <= spec.memory_gib * 2**30
    faults: list[str] = []
    train_images, test_images = (_decode(part, faults, keep=keep) for part in readers)
    if faults:
        more = f"; {len(faults) - 3} more files are damaged" if len(faults) > 3 else ""
        raise DataError("; ".join(sorted(faults)[:3]) + more)
    return RawData(
        train_images,
        files.train_labels,
        test_images,
        files.test_labels,
        files.classes,
        flip=True,
        notes=(*files.notes, *notes),
        reading=reading,
        names=(list(map(str, files.train)), list(map(str, files.test))),
    )


class _Reader:
    """Decodes the images of some files, by number, at one size; errors name the file."""

    def __init__(self, files: Sequence[Path], *, size: tuple[int, int], mode: PictureMode) -> None:
        self.files, self.size, self.mode = files, size, mode
        self.shape = (len(files), mode.channels, *size)

    def __call__(self, index: int) -> Tensor:
        return read_picture(self.files[index], size=self.size, mode=self.mode)


def _decode(reader: _Reader, faults: list[str], *, keep: bool) -> Tensor | LazyImages:
    """Decode every file once, so that all corrupt ones are known before training; keep the pixels if asked to."""

    def attempt(index: int) -> Tensor:
        try:
            image = reader(index)
        except DataError as error:
            faults.append(str(error))
            image = torch.zeros(reader.shape[1:], dtype=reader.mode.dtype)
        return image if keep else image[:0]

    pool = ThreadPoolExecutor(_DECODERS)
    images = list(pool.map(attempt, range(len(reader.files))))
    return torch.stack(images) if keep else LazyImages(reader, reader.shape, pool.map)


def _survey(files: Sequence[Path], size: tuple[int, int]) -> tuple[PictureMode, str, list[str]]:
    """What all headers say: the mode that keeps every picture, how they are read in words, and notes."""

    def header(path: Path) -> Header | None:
        try:
            return read_header(path)
        except DataError:  # named, with all others, when the pixels are read
            return None

    with ThreadPoolExecutor(_DECODERS) as pool:
        headers = list(pool.map(header, files))
    known = {path: head for path, head in zip(files, headers, strict=True) if head}
    mode = common_mode(head.mode for head in known.values())
    if mode is None:
        odd = {head.mode.depth == "real": path for path, head in known.items()}
        raise DataError(
            f"data.path: '{odd[True]}' holds real numbers or integers of 32 bits and '{odd[False]}' has levels of 8 or "
            "16 bits, and nothing tells how the two scales compare: bring all pictures to one"
        )
    return mode, in_words(list(known.values()), mode, size), about_headers(list(known.values()))
