"""A folder of images: one directory a class, PNG or JPEG, resized to one size.

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
from slopewise.study._streams import stream
from slopewise.study.data._base import LazyImages, RawData
from slopewise.study.data._picture import PictureMode, common_mode, mode_of, opened, read_picture
from slopewise.study.data._prepare import stratified_split

_PART_NAMES = {"train", "test", "val", "valid", "validation"}
_SUFFIXES = {".png", ".jpg", ".jpeg"}
_TEST_FRACTION = 0.2
_DECODERS = 4  # threads; Pillow releases the interpreter lock while it decodes


def load(spec: DataSpec) -> RawData:
    """Every image of the folder, decoded once, in memory where that fits `data.memory_gib`.

    Raises:
        DataError: the folder is missing, a class has no image, or files cannot be decoded; they are named.
    """
    if not spec.path:
        raise DataError("data.path: say which folder holds the images (one directory a class)")
    root = Path(spec.path)
    if not root.is_dir():
        raise DataError(f"data.path: '{root}' is not a folder; it should hold one directory a class")
    split = (root / "train").is_dir() and (root / "test").is_dir()
    if not split and (parts := sorted(path.name for path in root.iterdir() if path.name in _PART_NAMES)):
        raise DataError(
            f"data.path: '{root}' holds {', '.join(parts)}, which are parts of a data set and no classes: it needs "
            "both train/ and test/ (rename, or link, the one to score on as test)"
        )
    classes, train_files, train_labels = _list(root / "train" if split else root)
    if split:
        test_classes, test_files, test_labels = _list(root / "test")
        if test_classes != classes:
            odd = sorted(set(classes) ^ set(test_classes))
            raise DataError(f"data.path: '{root}': train and test differ in classes: {', '.join(odd)}")
    else:
        train, test = stratified_split(train_labels, _TEST_FRACTION, stream(0, "folder-test"))
        if not len(test):
            raise DataError(
                f"data.path: a fifth of the images of each class in '{root}' is less than one, so there is no test "
                "set: add images, or make folders train/ and test/"
            )
        test_files, test_labels = [train_files[i] for i in test], train_labels[test]
        train_files, train_labels = [train_files[i] for i in train], train_labels[train]

    mode = _common_mode(train_files + test_files)
    readers = [_Reader(files, size=spec.image_size, mode=mode) for files in (train_files, test_files)]
    keep = 4 * sum(math.prod(part.shape) for part in readers) <= spec.memory_gib * 2**30
    faults: list[str] = []
    train_images, test_images = (_decode(part, faults, keep=keep) for part in readers)
    if faults:
        more = f"; {len(faults) - 3} more files are damaged" if len(faults) > 3 else ""
        raise DataError("; ".join(sorted(faults)[:3]) + more)
    return RawData(train_images, train_labels, test_images, test_labels, classes, flip=True)


def _list(folder: Path) -> tuple[tuple[str, ...], list[Path], Tensor]:
    """Class names, image files and their labels, in sorted order on every machine."""
    directories = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not directories:
        raise DataError(f"data.path: '{folder}' has no directories; each class needs one, with its images inside")
    files: list[Path] = []
    labels: list[int] = []
    for label, directory in enumerate(directories):
        images = sorted(path for path in directory.rglob("*") if _is_image(path))
        if not images:
            raise DataError(f"data.path: class '{directory.name}' has no PNG or JPEG image in '{directory}'")
        files += images
        labels += [label] * len(images)
    return tuple(directory.name for directory in directories), files, torch.tensor(labels)


def _is_image(path: Path) -> bool:
    # Hidden files are not pictures: macOS leaves "._NAME.jpg" beside each one that it copies.
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


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


def _common_mode(files: Sequence[Path]) -> PictureMode:
    """The mode that keeps all of every picture: one grey picture does not make the rest grey."""

    def header(path: Path) -> PictureMode | None:
        try:
            with opened(path) as image:
                return mode_of(image)
        except DataError:  # named, with all others, when the pixels are read
            return None

    with ThreadPoolExecutor(_DECODERS) as pool:
        modes = list(pool.map(header, files))
    common = common_mode(mode for mode in modes if mode)
    if common is None:
        odd = {mode.depth == "real": path for mode, path in zip(modes, files, strict=True) if mode}
        raise DataError(
            f"data.path: '{odd[True]}' holds real numbers and '{odd[False]}' levels from 0 on: nothing tells how the "
            "two scales compare; bring all pictures to one"
        )
    return common
