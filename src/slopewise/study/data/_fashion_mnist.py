"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey images of 28 x 28 pixels, from its four IDX files."""

from __future__ import annotations

import gzip
import math
import os
import struct
from pathlib import Path

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._reader import ImageReader

_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def load(spec: DataSpec, reader: ImageReader) -> RawData:  # noqa: ARG001 - every source has this signature
    """Load the four files, gzipped or not, from the first of these folders that has them.

    `data.path`; the Debian package `dataset-fashion-mnist`; the user's cache (`$XDG_CACHE_HOME`, else `~/.cache`).

    Raises:
        DataError: No folder has all four files, or one is not what its name says.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slopewise" / "fashion-mnist"
    folders = [Path(spec.path)] if spec.path else [_DEBIAN, cache]
    for folder in folders:
        paths = [_find(folder, name) for name in _FILES]
        if all(paths):
            train_images, train_labels, test_images, test_labels = (read_idx(path) for path in paths if path)
            images = train_images[:, None], test_images[:, None]
            return RawData(images[0], train_labels.long(), images[1], test_labels.long(), _CLASSES, flip=True)
    asked = f"data.path '{spec.path}'" if spec.path else "data.path (not given)"
    raise DataError(
        f"fashion-mnist: the four files {', '.join(_FILES)} (.gz or not) are not all in any of: {asked}; {_DEBIAN} "
        f"(Debian: apt-get install dataset-fashion-mnist); the cache {cache}. Put them in one of these"
    )


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def read_idx(path: Path) -> Tensor:
    """Read an IDX file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist) as a uint8 tensor.

    Raises:
        DataError: The file is damaged, is not IDX, or holds another number type.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise DataError(f"fashion-mnist: cannot read '{path}': {error}; get the file again") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"fashion-mnist: '{path}' is not an IDX file of unsigned bytes; get the file again")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start]) if len(content) >= start else (0,)
    if len(content) != start + math.prod(shape):
        raise DataError(f"fashion-mnist: '{path}' is cut short or too long for its shape {shape}; get the file again")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)
