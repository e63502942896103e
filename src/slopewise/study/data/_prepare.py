"""Preparation of a source's raw images for trials: checks, class-balanced subset, normalisation, digest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._base import ImageData, NormalisedImages, RawData
from slopewise.study.data._checks import check_pixels
from slopewise.study.data._parts import listed
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages, bytes_of, chunks
from slopewise.study.data._targets import subset
from slopewise.timing import using_threads

TEST_FRACTION = 0.2  # of each class, where a source has no test set of its own


def prepare(raw: RawData, spec: DataSpec, reader: ImageReader) -> ImageData:
    """Store and check raw data, take the subset that the spec asks for, and normalise it.

    Raises:
        DataError: NaN or infinite pixels, sizes that do not match, a class without a training image, or a
            `train_size` that the smallest class cannot serve.
    """
    if len(raw.classes) < 2:
        raise DataError(f"data: there is {len(raw.classes)} class, and nothing to tell apart: give at least 2 classes")
    train, test = reader.store(raw.train_images), reader.store(raw.test_images)
    raw = replace(raw, train_images=train, test_images=test)  # releases the tensors of the source
    _check(train, raw.train_targets, len(raw.classes), "training")
    _check(test, raw.test_targets, len(raw.classes), "test")
    if train.shape[1:] != test.shape[1:]:
        shapes = f"{train.shape[1:]} and {test.shape[1:]}"
        raise DataError(f"data: training and test images have different shapes, {shapes}: make them equal")
    counts = torch.bincount(raw.train_targets, minlength=len(raw.classes))
    if missing := (counts == 0).nonzero().flatten().tolist():
        names = [raw.classes[k] for k in missing]
        which = f"class '{names[0]}'" if len(names) == 1 else f"classes {listed(names)}"
        raise DataError(f"data: no training image of {which}: {_remedy(raw, missing)}")
    notes = [*raw.notes, *check_pixels(raw), *_about_test(raw)]

    keep = torch.arange(len(raw.train_targets))
    if spec.train_size is not None:
        keep = subset(raw.train_targets, raw.kind, spec.train_size, stream(0, "subset"))
    labels = raw.train_targets[keep]
    index = keep if len(keep) < len(raw.train_targets) else None
    mean, deviation = _moments(train, index)
    return ImageData(
        name=spec.source,
        train_images=NormalisedImages(train, mean=mean, deviation=deviation, index=index),
        train_targets=labels,
        test_images=NormalisedImages(test, mean=mean, deviation=deviation),
        test_targets=raw.test_targets,
        classes=raw.classes,
        flip=raw.flip,
        digest=_digest((train.tensor, index), (labels, None), (test.tensor, None), (raw.test_targets, None)),
        notes=tuple(notes),
        reading=raw.reading,
    )


def _remedy(raw: RawData, missing: Sequence[int]) -> str:
    if least := int(raw.train_targets.min()):
        return f"subtract {least} from the labels, which start at {least}, or add images"
    if set(missing) & set(raw.test_targets.tolist()):
        return "the test set has some; if the images are sorted by class, shuffle them before splitting"
    return "add some, or leave the class out"


def _about_test(raw: RawData) -> list[str]:
    counts = torch.bincount(raw.test_targets, minlength=len(raw.classes)).tolist()
    if missing := [name for name, count in zip(raw.classes, counts, strict=True) if not count]:
        return [f"{len(missing)} of {len(raw.classes)} classes have no test image: {', '.join(missing[:6])}"]
    return []


def _check(images: StoredImages, labels: Tensor, classes: int, part: str) -> None:
    if len(images.shape) not in (4, 5):
        raise DataError(f"data: {part} images have shape {images.shape}, but must be (N, C, H, W) or (N, C, D, H, W)")
    if len(images) != len(labels):
        elsewhere = ": the images must lie along the first axis, transpose them" if len(labels) in images.shape else ""
        raise DataError(
            f"data: {len(images)} {part} images but {len(labels)} labels: there must be one label an image{elsewhere}"
        )
    if len(images) == 0:
        raise DataError(f"data: no {part} images")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"data: {part} labels run from {int(labels.min())} to {int(labels.max())}, but there are {classes} "
            f"classes: labels must be 0 to {classes - 1}"
        )


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
