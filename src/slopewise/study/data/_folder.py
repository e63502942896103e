"""A folder of images: one directory a class, in any format that Pillow reads, resized to one size.

`PATH/train/CLASS/*` and `PATH/test/CLASS/*`, or only `PATH/CLASS/*`, of which a fixed fifth becomes the test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._discover import Files, discover
from slopewise.study.data._headers import Header, about_headers, header_of, in_words, read_header
from slopewise.study.data._picture import PictureMode, common_mode, opened, to_pixels
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages

_SAMPLE = 64  # headers from which the mode of all pictures is guessed


class _OtherModeError(Exception):
    """A picture needs a mode that differs from the one in which the pictures are being read."""


def load(spec: DataSpec, reader: ImageReader) -> RawData:
    """Load every image of the folder, decoded once.

    The common mode of all pictures is guessed from a sample of headers. If a picture proves the guess wrong, all
    headers are read, and then all pictures again.

    Raises:
        DataError: The folder is missing, a class has no image, or files cannot be decoded; they are named.
    """
    files = discover(spec)
    paths = files.train + files.test
    try:
        mode = _common(_headers(paths[:: max(1, len(paths) // _SAMPLE)], reader))
        parts = _read(files, mode, spec.image_size, reader)
    except _OtherModeError:
        mode, reader = _common(_headers(paths, reader)), reader.anew()
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
    if faults:
        more = f"; {len(faults) - 3} more files are damaged" if len(faults) > 3 else ""
        raise DataError("; ".join(sorted(faults)[:3]) + more)
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


def _headers(files: Sequence[Path], reader: ImageReader) -> dict[Path, Header]:
    """Return the headers of the files that have one."""

    def header(index: int) -> Header | None:
        try:
            return read_header(files[index])
        except DataError:  # named, with all others, when the pixels are read
            return None

    headers = reader.each(header, len(files), what="headers of pictures")
    return {path: head for path, head in zip(files, headers, strict=True) if head}


def _common(headers: Mapping[Path, Header]) -> PictureMode:
    """Return the mode that keeps every picture.

    Raises:
        DataError: There is none.
    """
    mode = common_mode(head.mode for head in headers.values())
    if mode is None:
        odd = {head.mode.depth == "real": path for path, head in headers.items()}
        raise DataError(
            f"data.path: '{odd[True]}' holds real numbers or integers of 32 bits and '{odd[False]}' has levels of 8 or "
            "16 bits, and nothing tells how the two scales compare: bring all pictures to one"
        )
    return mode
