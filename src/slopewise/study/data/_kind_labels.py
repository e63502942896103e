"""Labels: one class for each image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._kind import PreparedTargets, check_counts, parts_of
from slopewise.study.data._parts import listed
from slopewise.study.data._reader import ImageReader


def prepare_labels(raw: RawData, spec: DataSpec, reader: ImageReader) -> PreparedTargets:  # noqa: ARG001 - as all kinds
    """Check labels int64 (N,), 0 to K - 1.

    Raises:
        DataError: There are fewer than 2 classes, a label is beyond them, or a class has no training image.
    """
    classes = len(raw.classes)
    if classes < 2:
        raise DataError(f"data: there is {classes} class, and nothing to tell apart: give at least 2 classes")
    check_counts(raw, "label")
    for part, _, labels in parts_of(raw):
        if labels.min() < 0 or labels.max() >= classes:
            raise DataError(
                f"data: {part} labels run from {int(labels.min())} to {int(labels.max())}, but there are {classes} "
                f"classes: labels must be 0 to {classes - 1}"
            )
    train, test = (labels for _, _, labels in parts_of(raw))
    counts = torch.bincount(train, minlength=classes)
    if missing := (counts == 0).nonzero().flatten().tolist():
        names = [raw.classes[k] for k in missing]
        which = f"class '{names[0]}'" if len(names) == 1 else f"classes {listed(names)}"
        raise DataError(f"data: no training image of {which}: {_remedy(train, test, missing)}")
    return PreparedTargets(train, test, raw.classes, tuple(_about_test(test, raw.classes)))


def _remedy(train: Tensor, test: Tensor, missing: Sequence[int]) -> str:
    if least := int(train.min()):
        return f"subtract {least} from the labels, which start at {least}, or add images"
    if set(missing) & set(test.tolist()):
        return "the test set has some; if the images are sorted by class, shuffle them before splitting"
    return "add some, or leave the class out"


def _about_test(labels: Tensor, classes: Sequence[str]) -> list[str]:
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    if missing := [name for name, count in zip(classes, counts, strict=True) if not count]:
        return [f"{len(missing)} of {len(classes)} classes have no test image: {', '.join(missing[:6])}"]
    return []
