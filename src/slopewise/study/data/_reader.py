"""Reading and storage of pixels for all sources: once, by many threads, with events about the progress."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.events import Reading
from slopewise.machine import cores
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._stored import StoredImages, chunks
from slopewise.study.data._targets import TargetKind

_BLOCK = 32  # items that a thread takes at once

T = TypeVar("T")


class ImageReader:
    """Reads the images of one spec, and holds them in memory up to `data.memory_gib`, beyond that on disk.

    Args:
        spec: Data section of the study.
        folder: Directory for images that do not fit in memory; None is the system's directory for temporary files.
        on_event: Called with a `Reading` from time to time while images are read.
        targets: Kind of targets that the study's task asks for.

    Attributes:
        targets: The argument.
    """

    def __init__(
        self,
        spec: DataSpec,
        folder: Path | None = None,
        on_event: Callable[[Reading], None] | None = None,
        *,
        targets: TargetKind = "labels",
    ) -> None:
        self.targets = targets
        self._spec, self._room = spec, int(spec.memory_gib * 2**30)
        self._folder, self._on_event = folder or Path(tempfile.gettempdir()), on_event

    def anew(self) -> ImageReader:
        """Return a reader with the full memory limit, for images that replace those read so far."""
        return ImageReader(self._spec, self._folder, self._on_event, targets=self.targets)

    def each(self, do: Callable[[int], T], count: int, *, what: str, threads: int | None = None) -> list[T]:
        """Do something for each number below `count`, and return the results in order.

        Args:
            do: Function of a number; it runs in several threads at once unless `threads` is 1.
            count: Number of items.
            what: Plural noun for the items, as the progress bar shows it.
            threads: Number of threads; None is one for each core. 1 takes the items in order in this thread.
        """

        def block(start: int) -> list[T]:
            return [do(i) for i in range(start, min(start + _BLOCK, count))]

        results: list[T] = []
        starts = range(0, count, _BLOCK)
        pool = ThreadPoolExecutor(threads or cores()) if threads != 1 else None
        try:
            for block_results in pool.map(block, starts) if pool else map(block, starts):
                results += block_results
                if self._on_event:
                    self._on_event(Reading(what, len(results), count))
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)
        return results

    def read(
        self,
        item: Callable[[int], Tensor],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        *,
        what: str,
        threads: int | None = None,
    ) -> StoredImages:
        """Read the images (C, H, W) that `item` returns for the numbers 0 to N - 1, once each.

        Args:
            item: Function that reads one image; it runs in several threads at once unless `threads` is 1.
            shape: (N, C, H, W) of all images.
            dtype: Number type that the images are kept in.
            what: Plural noun for them, as the progress bar shows it.
            threads: Number of threads; None is one for each core. 1 takes the items in order in this thread.

        Raises:
            DataError: There is no room for them on the disk. Errors of `item` pass through.
        """
        images = self._new(shape, dtype)
        self.each(lambda i: self._write(images, i, item(i)), shape[0], what=what, threads=threads)
        return images

    def read_pairs(
        self,
        item: Callable[[int], tuple[Tensor, Tensor]],
        images: tuple[tuple[int, ...], torch.dtype],
        targets: tuple[tuple[int, ...], torch.dtype],
        *,
        what: str,
        starts: Sequence[int] | None = None,
        threads: int | None = None,
    ) -> tuple[StoredImages, StoredImages]:
        """Read images and targets that are stored alike, from each item once.

        Args:
            item: Function of an item's number that returns one image and its target, or several of both.
            images: Shape and number type of all images.
            targets: Shape and number type of all targets.
            what: Plural noun for them, as the progress bar shows it.
            starts: Number of the first image of each item; None is one image an item.
            threads: Number of threads; None is one for each core. 1 takes the items in order in this thread.

        Raises:
            DataError: There is no room for them on the disk. Errors of `item` pass through.
        """
        stored = self._new(*images), self._new(*targets)
        firsts = range(images[0][0]) if starts is None else starts

        def write(index: int) -> None:
            for place, pixels in zip(stored, item(index), strict=True):
                self._write(place, firsts[index], pixels)

        self.each(write, len(firsts), what=what, threads=threads)
        return stored

    def store(self, images: Tensor | StoredImages) -> StoredImages:
        """Copy a source's tensor to the place where images are kept; stored images are returned unchanged.

        Raises:
            DataError: There is no room for them on the disk.
        """
        if isinstance(images, StoredImages):
            return images
        stored = self._new(images.shape, images.dtype, copies=2)  # the tensor itself lies in memory until it is copied
        start = 0
        for chunk in chunks(images):
            self._write(stored, start, chunk)
            start += len(chunk)
        return stored

    def _new(self, shape: tuple[int, ...], dtype: torch.dtype, copies: int = 1) -> StoredImages:
        size = math.prod(shape) * dtype.itemsize
        in_memory = copies * size <= self._room
        self._room -= size if in_memory else 0
        with self._full_disk():
            return StoredImages(shape, dtype, None if in_memory else self._folder)

    def _write(self, images: StoredImages, start: int, pixels: Tensor) -> None:
        with self._full_disk():
            images.write(start, pixels)

    @contextmanager
    def _full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"data.memory_gib: images that do not fit in it are kept in '{self._folder}' while they are in use, "
                f"which failed ({error.strerror}): make room there, or raise it"
            ) from error
