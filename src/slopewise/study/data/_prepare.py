"""Preparation of a source's raw images for trials: checks, class-balanced subset, normalisation, digest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._base import ImageData, RawData
from slopewise.study.data._checks import check_pixels
from slopewise.study.data._gathered import Gathered, NormalisedImages, ScaledImages
from slopewise.study.data._kind import PreparedTargets
from slopewise.study.data._kind_images import prepare_images
from slopewise.study.data._kind_labels import prepare_labels
from slopewise.study.data._kind_masks import prepare_masks
from slopewise.study.data._kind_numbers import prepare_multilabel, prepare_values
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages, bytes_of, chunks
from slopewise.study.data._targets import NOUNS, TargetKind, subset
from slopewise.timing import using_threads

TEST_FRACTION = 0.2  # of each class, where a source has no test set of its own


_KEYS: dict[str, TargetKind] = {"ignore_index": "masks", "data_range": "images"}  # that concern one kind of targets
_KINDS: dict[TargetKind, Callable[[RawData, DataSpec, ImageReader], PreparedTargets]] = {
    "labels": prepare_labels,
    "multilabel": prepare_multilabel,
    "masks": prepare_masks,
    "values": prepare_values,
    "images": prepare_images,
}


def prepare(raw: RawData, spec: DataSpec, reader: ImageReader) -> ImageData:
    """Store and check raw data, take the subset that the spec asks for, and normalise it.

    Raises:
        DataError: The source has other targets than the task needs, pixels are NaN or infinite, sizes do not match, the
            targets are not as their kind must be, or `train_size` asks for too many images.
    """
    if raw.kind != reader.targets:
        raise DataError(
            f"data '{spec.source}' has {NOUNS[raw.kind]}, and the task needs {NOUNS[reader.targets]}: choose another "
            "source or task"
        )
    for key, kind in _KEYS.items():
        if getattr(spec, key) is not None and raw.kind != kind:
            raise DataError(f"data.{key}: is about {NOUNS[kind]}, but the task needs {NOUNS[raw.kind]}: leave it out")
    train, test = reader.store(raw.train_images), reader.store(raw.test_images)
    raw = replace(raw, train_images=train, test_images=test)  # releases the tensors of the source
    _check(train, "training")
    _check(test, "test")
    targets = _KINDS[raw.kind](raw, spec, reader)
    if train.shape[1:] != test.shape[1:]:
        shapes = f"{train.shape[1:]} and {test.shape[1:]}"
        raise DataError(f"data: training and test images have different shapes, {shapes}: make them equal")
    notes = [*raw.notes, *check_pixels(raw), *targets.notes]

    index = None
    if spec.train_size is not None:
        chosen = subset(targets.train, raw.kind, spec.train_size, stream(0, "subset"))
        index = chosen if len(chosen) < len(targets.train) else None
    images, test_images = _scaled(train, test, index, targets.data_range)
    return ImageData(
        name=spec.source,
        train_images=images.select(index),
        train_targets=_selected(targets.train, index),
        test_images=test_images,
        test_targets=targets.test,
        classes=targets.classes,
        flip=raw.flip,
        digest=_digest(
            (train.tensor, index),
            (_stored(targets.train), index),
            (test.tensor, None),
            (_stored(targets.test), None),
        ),
        notes=tuple(notes),
        reading=raw.reading,
        kind=raw.kind,
        data_range=targets.data_range,
        pictures=raw.pictures,
    )


def _scaled(
    train: StoredImages, test: StoredImages, index: Tensor | None, data_range: float | None
) -> tuple[Gathered, Gathered]:
    """Return the images of both parts, standardised by the selected training images or divided by the data's range."""
    if data_range is not None:
        return ScaledImages(train, data_range=data_range), ScaledImages(test, data_range=data_range)
    mean, deviation = _moments(train, index)
    return (
        NormalisedImages(train, mean=mean, deviation=deviation),
        NormalisedImages(test, mean=mean, deviation=deviation),
    )


def _selected(targets: Tensor | Gathered, index: Tensor | None) -> Tensor | Gathered:
    if isinstance(targets, Gathered):
        return targets.select(index)
    return targets if index is None else targets[index]


def _stored(targets: Tensor | Gathered) -> Tensor:
    return targets.pixels if isinstance(targets, Gathered) else targets


def _check(images: StoredImages, part: str) -> None:
    if len(images.shape) not in (4, 5):
        raise DataError(f"data: {part} images have shape {images.shape}, but must be (N, C, H, W) or (N, C, D, H, W)")
    if len(images) == 0:
        raise DataError(f"data: no {part} images")


def _moments(images: StoredImages, index: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, (C,) float32; the deviation of a constant channel is 1.

    Both are summed in float64 and one thread, so that they do not depend on the machine's number of cores. Sums are of
    distances from the first pixel, then from the mean: those of a constant channel are exactly 0.
    """
    size = (len(images) if index is None else len(index)) * math.prod(images.shape[2:])

    def mean_of(change: Callable[[Tensor], Tensor]) -> Tensor:
        total = torch.zeros(images.shape[1], dtype=torch.float64)
        for chunk in _chosen(images.tensor, index):
            total += change(chunk.flatten(2).to(torch.float64)).sum(dim=2).sum(dim=0)
        return total / size

    with using_threads(1):
        first = next(_chosen(images.tensor, index))[0].flatten(1)[:, :1].to(torch.float64)
        mean = first.flatten() + mean_of(lambda pixels: pixels - first)
        centre = mean[:, None]
        deviation = mean_of(lambda pixels: (pixels - centre).square_()).sqrt().to(torch.float32)
    return mean.to(torch.float32), torch.where(deviation > 0, deviation, 1.0)


def _chosen(images: Tensor, index: Tensor | None) -> Iterator[Tensor]:
    """Return chunks of the images that an index names; None names all."""
    if index is None:
        return chunks(images)
    return (images[rows] for rows in index.split(len(next(chunks(images)))))


def _digest(*parts: tuple[Tensor, Tensor | None]) -> str:
    """Return the SHA-256 of tensors, each with its shape; of a tensor with an index, only its rows count."""
    digest = hashlib.sha256()
    for part, index in parts:
        count = len(part) if index is None else len(index)
        digest.update(str((count, *part.shape[1:])).encode())
        for chunk in _chosen(part, index):
            digest.update(bytes_of(chunk))
    return digest.hexdigest()
