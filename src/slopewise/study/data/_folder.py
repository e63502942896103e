"""A folder of images: one directory a class, in any format that Pillow reads, resized to one size.

`PATH/train/CLASS/*` and `PATH/test/CLASS/*`, or only `PATH/CLASS/*`, of which a fixed fifth becomes the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._discover import discover
from slopewise.study.data._headers import Header, about_headers, in_words, read_header
from slopewise.study.data._picture import PictureMode, common_mode, read_picture
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages


def load(spec: DataSpec, reader: ImageReader) -> RawData:
    """Every image of the folder, decoded once.

    Raises:
        DataError: the folder is missing, a class has no image, or files cannot be decoded; they are named.
    """
    files = discover(spec)
    mode, reading, notes = _survey(files.train + files.test, reader)
    faults: list[str] = []
    train_images, test_images = (
        _read(paths, f"{part} images", spec.image_size, mode, faults, reader)
        for paths, part in ((files.train, "training"), (files.test, "test"))
    )
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


def _read(
    files: Sequence[Path],
    what: str,
    size: tuple[int, int],
    mode: PictureMode,
    faults: list[str],
    reader: ImageReader,
) -> StoredImages:
    """Read every file once, so that all corrupt ones are known before training; what is wrong with them is appended."""
    shape = (mode.channels, *size)

    def picture(index: int) -> Tensor:
        try:
            return read_picture(files[index], size=size, mode=mode)
        except DataError as error:
            faults.append(str(error))
            return torch.zeros(shape, dtype=mode.dtype)

    return reader.read(picture, (len(files), *shape), mode.dtype, what=what)


def _survey(files: Sequence[Path], reader: ImageReader) -> tuple[PictureMode, str, list[str]]:
    """What all headers say: the mode that keeps every picture, how they are read in words, and notes."""

    def header(index: int) -> Header | None:
        try:
            return read_header(files[index])
        except DataError:  # named, with all others, when the pixels are read
            return None

    headers = reader.each(header, len(files), what="headers of pictures")
    known = {path: head for path, head in zip(files, headers, strict=True) if head}
    mode = common_mode(head.mode for head in known.values())
    if mode is None:
        odd = {head.mode.depth == "real": path for path, head in known.items()}
        raise DataError(
            f"data.path: '{odd[True]}' holds real numbers or integers of 32 bits and '{odd[False]}' has levels of 8 or "
            "16 bits, and nothing tells how the two scales compare: bring all pictures to one"
        )
    return mode, in_words(list(known.values()), mode), about_headers(list(known.values()))
