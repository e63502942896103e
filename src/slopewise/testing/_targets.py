"""Checks of targets by kind, for the kit of data sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from slopewise.study.data import IGNORED, ImageData, RawData, StoredImages, TargetKind


def pixels(images: Tensor | StoredImages) -> Tensor:
    """Return all images or targets as a tensor."""
    return images.tensor if isinstance(images, StoredImages) else images


def check_raw_targets(raw: RawData, kind: TargetKind) -> None:
    """Check the targets that a source returns.

    Raises:
        AssertionError: A check failed.
    """
    assert raw.kind == kind, f"load() returned targets of the kind '{raw.kind}', not '{kind}', which was asked for"
    assert len(set(raw.classes)) == len(raw.classes), f"two classes have one name: {raw.classes}"
    assert all(isinstance(name, str) and name for name in raw.classes), f"names of classes: {raw.classes}"
    parts = {"training": (raw.train_images, raw.train_targets), "test": (raw.test_images, raw.test_targets)}
    for part, (images, targets) in parts.items():
        numbers = pixels(targets)
        assert not numbers.is_complex(), f"{part} targets are {numbers.dtype}, not real numbers"
        _RAW[kind](raw, part, tuple(images.shape), numbers)


def _labels(raw: RawData, part: str, images: tuple[int, ...], labels: Tensor) -> None:
    classes = len(raw.classes)
    assert classes > 1, f"there must be 2 classes or more, not {raw.classes}"
    assert labels.shape == images[:1], f"{part} labels have shape {tuple(labels.shape)}, not {images[:1]}"
    assert not labels.dtype.is_floating_point, f"{part} labels are {labels.dtype}, not integers"
    low, high = int(labels.min()), int(labels.max())
    assert low >= 0, f"{part} labels begin at {low}"
    assert high < classes, f"{part} labels run to {high}, but there are {classes} classes"


def _multilabel(raw: RawData, part: str, images: tuple[int, ...], rows: Tensor) -> None:
    assert rows.shape[:1] == images[:1], f"{len(rows)} {part} rows of labels for {images[0]} images"
    assert rows.dim() == 2, f"{part} labels have shape {tuple(rows.shape)}, not (N, K)"
    assert rows.shape[1] == len(raw.classes) or not raw.classes, f"{rows.shape[1]} labels, but names {raw.classes}"
    assert bool(((rows == 0) | (rows == 1)).all()), f"{part} labels are not all 0 or 1"


def _masks(raw: RawData, part: str, images: tuple[int, ...], masks: Tensor) -> None:  # noqa: ARG001 - as all kinds
    expected = (images[0], *images[2:])
    assert masks.shape == expected, f"{part} masks have shape {tuple(masks.shape)}, not {expected}"
    whole = not masks.dtype.is_floating_point or bool((masks == masks.floor()).all())
    assert whole, f"{part} masks do not hold whole numbers"


def _values(raw: RawData, part: str, images: tuple[int, ...], values: Tensor) -> None:
    assert values.shape[:1] == images[:1], f"{len(values)} {part} values for {images[0]} images"
    assert values.dim() in (1, 2), f"{part} values have shape {tuple(values.shape)}, not (N,) or (N, D)"
    count = values.shape[1] if values.dim() == 2 else 1
    assert count == len(raw.classes) or not raw.classes, f"{count} values an image, but names {raw.classes}"
    assert bool(values.isfinite().all()), f"{part} values are not all finite"


def _images(raw: RawData, part: str, images: tuple[int, ...], targets: Tensor) -> None:
    shape = tuple(targets.shape)
    factor = shape[-1] // images[-1]
    expected = (images[0], *shape[1:2], *(factor * size for size in images[2:]))
    assert shape == expected, f"{part} targets have shape {shape}, which is no whole multiple of {images}"
    assert targets.shape[1:] == pixels(raw.train_targets).shape[1:], "targets of the two parts differ in shape"


_RAW: dict[TargetKind, Callable[[RawData, str, tuple[int, ...], Tensor], None]] = {
    "labels": _labels,
    "multilabel": _multilabel,
    "masks": _masks,
    "values": _values,
    "images": _images,
}
_PREPARED: dict[TargetKind, tuple[torch.dtype, int]] = {  # number type and axes, of masks and images at least
    "labels": (torch.int64, 1),
    "multilabel": (torch.float32, 2),
    "masks": (torch.int64, 3),
    "values": (torch.float32, 2),
    "images": (torch.float32, 4),
}


def check_prepared_targets(data: ImageData) -> None:
    """Check the targets that trials get.

    Raises:
        AssertionError: A check failed.
    """
    dtype, axes = _PREPARED[data.kind]
    parts: dict[str, Any] = {"training": data.train_targets, "test": data.test_targets}
    for part, targets in parts.items():
        batch = targets[torch.arange(len(targets))]
        assert batch.dtype == dtype, f"prepared {part} targets are {batch.dtype}, not {dtype}"
        assert batch.dim() in ((axes, axes + 1) if data.kind in ("masks", "images") else (axes,)), (
            f"prepared {part} targets have shape {tuple(batch.shape)}"
        )
        if data.kind in ("labels", "masks"):
            numbers = batch[batch != IGNORED] if data.kind == "masks" else batch
            inside = bool(((numbers >= 0) & (numbers < len(data.classes))).all())
            assert inside, f"prepared {part} targets are not all classes 0 to {len(data.classes) - 1}"
        if data.kind == "images":
            assert bool(((batch >= 0) & (batch <= 1)).all()), f"prepared {part} targets lie outside 0 to 1"
