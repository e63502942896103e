"""Images in a file that has no name: read once, mapped by every process, freed by the kernel with the last of them."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor

_CHUNK = 2**24  # bytes that are copied or examined at a time
_SHARES_FILES = hasattr(reduction, "DupFd") and hasattr(os, "pwrite")  # all but Windows
_LOCK = Lock()


class StoredImages:
    """Images (N, C, H, W), volumes or masks of one number type, in a file that has no name.

    In memory the file is one of Linux's `memfd_create`, on disk an unlinked temporary file. Either is gone when the
    last process that holds it ends, in whatever way. Pickled for a process that is being started, it takes the open
    file along, and no copy of the images; pickled for anything else, it takes a copy.

    Args:
        shape: Shape, with the number of images first.
        dtype: Number type of the pixels.
        folder: Directory on whose disk the images are kept; None keeps them in memory.

    Raises:
        OSError: There is no room for the file.

    Example:
        >>> images = StoredImages((2, 1, 2, 2), torch.uint8)
        >>> images.write(1, torch.full((1, 2, 2), 7, dtype=torch.uint8))
        >>> images.tensor[:, 0, 0, 0]
        tensor([0, 7], dtype=torch.uint8)
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, folder: Path | None = None) -> None:
        self._hold(_nameless(folder), shape, dtype)
        os.truncate(self._file, self.nbytes)

    def _hold(self, file: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._file, self.shape, self.dtype = file, tuple(shape), dtype
        self._tensor: Tensor | None = None
        weakref.finalize(self, os.close, file)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Number of bytes of all images."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def tensor(self) -> Tensor:
        """All images, mapped and not read: a page takes memory once it is looked at, once for all processes.

        Writing to it changes a private copy of the page.
        """
        if self._tensor is None:
            if not self.nbytes:
                self._tensor = torch.empty(self.shape, dtype=self.dtype)
            else:
                pages = mmap.mmap(self._file, self.nbytes, access=mmap.ACCESS_COPY)
                self._tensor = torch.frombuffer(pages, dtype=self.dtype).view(self.shape)
        return self._tensor

    def write(self, start: int, images: Tensor) -> None:
        """Write one image (C, H, W), or several (B, C, H, W), from number `start` on; threads may do so at once.

        Raises:
            ValueError: The images have another shape or number type.
            OSError: The disk is full.
        """
        if self.shape[1:] not in (images.shape, images.shape[1:]) or images.dtype != self.dtype:
            one = f"an image {tuple(images.shape)} of {images.dtype}"
            raise ValueError(f"{one} among images {self.shape[1:]} of {self.dtype}")
        offset = start * math.prod(self.shape[1:]) * self.dtype.itemsize
        _write_at(self._file, bytes_of(images), offset)

    def __reduce__(self) -> tuple[Any, ...]:
        # Only a process that is being started can inherit the file; other pickles may be read anywhere, and twice.
        if not _SHARES_FILES or get_spawning_popen() is None:
            return _copied, (self.tensor.numpy(), self.dtype)
        return _reopened, (reduction.DupFd(self._file), self.shape, self.dtype)


def pixels_of(images: Tensor | StoredImages) -> Tensor:
    """Return all images as a tensor, whether stored or not."""
    return images.tensor if isinstance(images, StoredImages) else images


def chunks(images: Tensor) -> Iterator[Tensor]:
    """Return an iterator over images in order, some megabytes at a time, so that a pass over all needs little memory.

    Example:
        >>> [len(chunk) for chunk in chunks(torch.zeros(5, 1, 2048, 2048))]
        [1, 1, 1, 1, 1]
    """
    each = max(1, math.prod(images.shape[1:]) * images.dtype.itemsize)
    return iter(images.split(max(1, _CHUNK // each)))


def bytes_of(tensor: Tensor) -> memoryview:
    r"""Return the bytes of a tensor in C order.

    Example:
        >>> bytes(bytes_of(torch.tensor([1, 2], dtype=torch.uint8)))
        b'\x01\x02'
    """
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data


def _nameless(folder: Path | None) -> int:
    """Return the descriptor of a new file without a name."""
    if folder is None and hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("slopewise-images")
        except OSError:  # forbidden here, as in some sandboxes
            pass
    with tempfile.TemporaryFile(dir=folder, prefix=".images-") as file:
        return os.dup(file.fileno())


def _write_at(file: int, data: memoryview, offset: int) -> None:
    while len(data):
        if hasattr(os, "pwrite"):
            written = os.pwrite(file, data, offset)
        else:
            with _LOCK:
                os.lseek(file, offset, os.SEEK_SET)
                written = os.write(file, data)
        data, offset = data[written:], offset + written


def _reopened(handle: Any, shape: tuple[int, ...], dtype: torch.dtype) -> StoredImages:
    images = StoredImages.__new__(StoredImages)
    images._hold(cast("int", handle.detach()), shape, dtype)
    return images


def _copied(array: Any, dtype: torch.dtype) -> StoredImages:
    images = StoredImages(array.shape, dtype)
    images.write(0, torch.from_numpy(array))
    return images
