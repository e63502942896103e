"""From a source's raw images to what a trial trains on: checks, class-balanced subset, normalisation, digest."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._base import ImageData, Images, LazyImages, RawData
from slopewise.study.data._checks import check_pixels

TEST_FRACTION = 0.2  # of each class, where a source has no test set of its own
_SAMPLE = 2048  # images that the mean and deviation of lazily read data are taken from


def prepare(raw: RawData, spec: DataSpec) -> ImageData:
    """Check raw data, take the subset that the spec asks for, and normalise it.

    Raises:
        DataError: NaN or infinite pixels, sizes that do not match, a class without a training image, or a
            `train_size` that the smallest class cannot serve.
    """
    if len(raw.classes) < 2:
        raise DataError(f"data: there is {len(raw.classes)} class, and nothing to tell apart: give at least 2 classes")
    _check(raw.train_images, raw.train_labels, len(raw.classes), "training")
    _check(raw.test_images, raw.test_labels, len(raw.classes), "test")
    if raw.train_images.shape[1:] != raw.test_images.shape[1:]:
        shapes = f"{tuple(raw.train_images.shape[1:])} and {tuple(raw.test_images.shape[1:])}"
        raise DataError(f"data: training and test images have different shapes, {shapes}: make them equal")
    counts = torch.bincount(raw.train_labels, minlength=len(raw.classes))
    if missing := [name for name, count in zip(raw.classes, counts.tolist(), strict=True) if not count]:
        raise DataError(f"data: no training image of class '{missing[0]}': {_remedy(raw)}")
    notes = [*raw.notes, *check_pixels(raw), *_about_test(raw)]

    keep = torch.arange(len(raw.train_labels))
    if spec.train_size is not None:
        keep = balanced_subset(raw.train_labels, spec.train_size, stream(0, "subset"))
    labels = raw.train_labels[keep]
    train = raw.train_images[keep] if isinstance(raw.train_images, Tensor) else raw.train_images.then(_same, keep)
    mean, deviation = _moments(train)
    return ImageData(
        name=spec.source,
        train_images=_normalised(train, mean, deviation),
        train_labels=labels,
        test_images=_normalised(raw.test_images, mean, deviation),
        test_labels=raw.test_labels,
        classes=raw.classes,
        flip=raw.flip,
        digest=_digest(train, labels, raw.test_images, raw.test_labels),
        notes=tuple(notes),
        reading=raw.reading,
    )


def balanced_subset(labels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Indices, ascending, of a random subset with the same number of each class, give or take one.

    Raises:
        DataError: a class has fewer images than its share.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
        >>> labels[balanced_subset(labels, 4, torch.Generator())].tolist()
        [0, 0, 1, 1]
    """
    classes = int(labels.max()) + 1
    shares = [size // classes + (k < size % classes) for k in range(classes)]
    chosen = []
    for k, share in enumerate(shares):
        members = (labels == k).nonzero().flatten()
        if len(members) < share:
            raise DataError(
                f"data.train_size: {size} images of {classes} classes need {share} of class {k}, which has only "
                f"{len(members)}; at most {len(members) * classes} will do"
            )
        chosen.append(members[torch.randperm(len(members), generator=generator)[:share]])
    return torch.cat(chosen).sort().values


def stratified_split(labels: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of (kept, held out), ascending: every class gives the same fraction, at least one image of each stays.

    Example:
        >>> kept, held_out = stratified_split(torch.tensor([0] * 10 + [1] * 20), 0.2, torch.Generator())
        >>> len(kept), len(held_out)
        (24, 6)
    """
    held = []
    for k in range(int(labels.max()) + 1):
        members = (labels == k).nonzero().flatten()
        share = min(round(fraction * len(members)), max(len(members) - 1, 0))
        held.append(members[torch.randperm(len(members), generator=generator)[:share]])
    held_out = torch.cat(held).sort().values
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held_out] = False
    return kept.nonzero().flatten(), held_out


def _same(image: Tensor) -> Tensor:
    return image


def _remedy(raw: RawData) -> str:
    least = int(raw.train_labels.min())
    shift = f", or subtract {least} from the labels, which start at {least}" if least else ""
    return f"add some, or leave the class out{shift}"


def _about_test(raw: RawData) -> list[str]:
    counts = torch.bincount(raw.test_labels, minlength=len(raw.classes)).tolist()
    if missing := [name for name, count in zip(raw.classes, counts, strict=True) if not count]:
        return [f"{len(missing)} of {len(raw.classes)} classes have no test image: {', '.join(missing[:6])}"]
    return []


def _check(images: Images, labels: Tensor, classes: int, part: str) -> None:
    if len(images.shape) != 4:
        raise DataError(f"data: {part} images have shape {tuple(images.shape)}, but must be (N, C, H, W)")
    if len(images) != len(labels):
        raise DataError(f"data: {len(images)} {part} images but {len(labels)} labels: there must be one label an image")
    if len(images) == 0:
        raise DataError(f"data: no {part} images")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"data: {part} labels run from {int(labels.min())} to {int(labels.max())}, but there are {classes} "
            f"classes: labels must be 0 to {classes - 1}"
        )


def _moments(images: Tensor | LazyImages) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, (C, 1, 1); a constant channel is left at its scale."""
    if not isinstance(images, Tensor):
        images = images[torch.linspace(0, len(images) - 1, min(len(images), _SAMPLE)).long()]
    channels = images.to(torch.float32).transpose(0, 1).flatten(1)
    deviation = channels.std(dim=1, correction=0)
    return channels.mean(dim=1)[:, None, None], torch.where(deviation > 0, deviation, 1.0)[:, None, None]


def _normalised(images: Tensor | LazyImages, mean: Tensor, deviation: Tensor) -> Images:
    if isinstance(images, Tensor):
        return images.to(torch.float32).sub(mean).div_(deviation)
    return images.then(lambda image: (image.to(torch.float32) - mean) / deviation)


def _digest(*parts: Tensor | LazyImages) -> str:
    """SHA-256 of images and labels; of lazily read images, only their shape and the same sample as the moments."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(tuple(part.shape)).encode())
        if not isinstance(part, Tensor):
            part = part[torch.linspace(0, len(part) - 1, min(len(part), _SAMPLE)).long()]  # noqa: PLW2901
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()
