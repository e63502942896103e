"""A folder of images: one directory a class, in any format that Pillow reads, resized to one size.

`PATH/train/CLASS/*` and `PATH/test/CLASS/*`, or only `PATH/CLASS/*`, of which a fixed fifth becomes the test set. For
masks and images as targets, see `_pair_folder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._discover import Files, discover
from slopewise.study.data._headers import (
    Header,
    about_headers,
    common_of,
    facts_of,
    header_of,
    in_words,
    raise_faults,
    read_headers,
)
from slopewise.study.data._pair_folder import load_pairs
from slopewise.study.data._picture import PictureMode, common_mode, opened, to_pixels
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages
from slopewise.study.data._targets import NOUNS

_SAMPLE = 64  # headers from which the mode of all pictures is guessed


class _OtherModeError(Exception):
    """A picture needs a mode that differs from the one in which the pictures are being read."""


def load(spec: DataSpec, reader: ImageReader) -> RawData:
    """Load every image of the folder, decoded once, with the class of its directory, or as a side of pairs.

    The common mode of all pictures is guessed from a sample of headers. If a picture proves the guess wrong, all
    headers are read, and then all pictures again.

    Raises:
        DataError: The folder is missing, a class has no image, or files cannot be decoded; they are named.
    """
    if reader.targets in ("masks", "images"):
        return load_pairs(spec, reader)
    if reader.targets != "labels":
        raise DataError(
            f"data '{spec.path}' is a folder, which has classes, masks or images as targets: give "
            f"{NOUNS[reader.targets]} in an .npz file or by module:callable"
        )
    files = discover(spec)
    paths = files.train + files.test
    try:
        mode = common_of(read_headers(paths[:: max(1, len(paths) // _SAMPLE)], reader))
        parts = _read(files, mode, spec.image_size, reader)
    except _OtherModeError:
        mode, reader = common_of(read_headers(paths, reader)), reader.anew()
        parts = _read(files, mode, spec.image_size, reader)
    headers = [header for part in parts for header in part.headers]
    return RawData(
        parts[0].images,
        files.train_labels,
        parts[1].images,
        files.test_labels,
        files.classes,
        flip=True,
        notes=(*files.notes, *about_headers(headers)),
        reading=in_words(headers, mode),
        names=(list(map(str, files.train)), list(map(str, files.test))),
        pictures=facts_of(headers, mode, spec.image_size),
    )


@dataclass(frozen=True)
class _Part:
    images: StoredImages
    headers: list[Header]


def _read(files: Files, mode: PictureMode, size: tuple[int, int], reader: ImageReader) -> tuple[_Part, _Part]:
    """Read every file, so that all corrupt ones are known before training."""
    faults: list[str] = []
    parts = (
        _read_part(files.train, "training images", size, mode, faults, reader),
        _read_part(files.test, "test images", size, mode, faults, reader),
    )
    raise_faults(faults)
    return parts


def _read_part(
    files: Sequence[Path],
    what: str,
    size: tuple[int, int],
    mode: PictureMode,
    faults: list[str],
    reader: ImageReader,
) -> _Part:
    """Read the files of one part, and append descriptions of unreadable files to `faults`."""
    shape = (mode.channels, *size)
    headers: list[Header | None] = [None] * len(files)

    def picture(index: int) -> Tensor:
        try:
            with opened(files[index]) as image:
                headers[index] = header = header_of(image)
                keeps = common_mode((header.mode, mode)) == mode
                pixels = to_pixels(image, mode, size=size) if keeps else None
        except DataError as error:
            faults.append(str(error))
            return torch.zeros(shape, dtype=mode.dtype)
        if pixels is None:
            raise _OtherModeError
        return pixels

    images = reader.read(picture, (len(files), *shape), mode.dtype, what=what)
    return _Part(images, [header for header in headers if header])
