"""Rows of numbers for each image: several labels, or values of a regression."""

from __future__ import annotations

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._kind import PARTS, PreparedTargets, check_counts, parts_of
from slopewise.study.data._parts import listed
from slopewise.study.data._reader import ImageReader


def prepare_multilabel(raw: RawData, spec: DataSpec, reader: ImageReader) -> PreparedTargets:  # noqa: ARG001 - as all
    """Check rows (N, K) of 0 and 1, of which any number may be 1, and return them as float32.

    Raises:
        DataError: The targets have another shape or other values, or `data.classes` names another number of labels.
    """
    check_counts(raw, "row of labels")
    for part, _, rows in parts_of(raw):
        if rows.ndim != 2:
            raise DataError(
                f"data: {part} labels have shape {tuple(rows.shape)}, but several labels an image are rows of 0 and 1 "
                "(N, K), one column a label"
            )
        odd = rows[(rows != 0) & (rows != 1)]
        if odd.numel():
            raise DataError(f"data: {part} labels hold {odd[0].item():g}, but must be rows of 0 and 1")
    train, test = (_as_float(rows) for _, _, rows in parts_of(raw))
    names = _names(raw, "label", list(map(str, range(train.shape[1]))), test.shape[1])
    notes = []
    for part, rows in zip(PARTS, (train, test), strict=True):
        if missing := [names[k] for k in (rows.sum(dim=0) == 0).nonzero().flatten().tolist()]:
            notes.append(f"no {part} image has the label{'s' * (len(missing) > 1)} {listed(missing)}")
    return PreparedTargets(train, test, names, tuple(notes))


def prepare_values(raw: RawData, spec: DataSpec, reader: ImageReader) -> PreparedTargets:  # noqa: ARG001 - as all kinds
    """Check values (N,) or (N, D), and return them as float32 (N, D), without a change of their scale.

    Raises:
        DataError: The targets have another shape, are not finite, or a value is the same for all training images.
    """
    check_counts(raw, "row of values")
    parts = []
    for part, _, values in parts_of(raw):
        rows = values[:, None] if values.ndim == 1 else values
        if rows.ndim != 2:
            raise DataError(
                f"data: {part} values have shape {tuple(values.shape)}, but must be (N,), or (N, D) for D values an "
                "image"
            )
        if bad := (~rows.isfinite()).any(dim=1).nonzero().flatten().tolist():
            raise DataError(
                f"data: the values of {len(bad)} of {len(rows)} {part} images are NaN or infinite, the first at index "
                f"{bad[0]}: fill or drop them"
            )
        parts.append(rows)
    train, test = parts
    count = train.shape[1]
    names = _names(raw, "value", [f"value {k}" for k in range(count)] if count > 1 else ["value"], test.shape[1])
    if constant := [names[k] for k in (train == train[0]).all(dim=0).nonzero().flatten().tolist()]:
        verb = "is" if len(constant) == 1 else "are"
        raise DataError(f"data: {listed(constant)} {verb} the same for all training images, so nothing can be learnt")
    return PreparedTargets(_as_float(train), _as_float(test), names)


def _names(raw: RawData, noun: str, numbered: list[str], test: int) -> tuple[str, ...]:
    """Return the names of the columns, after checks of their number."""
    train = len(numbered)
    if train != test:
        raise DataError(f"data: training images have {train} {noun}s each, test images {test}: make them equal")
    if raw.classes and len(raw.classes) != train:
        raise DataError(
            f"data.classes: names {len(raw.classes)} {noun}s, but each image has {train}: give one name a {noun}"
        )
    return raw.classes or tuple(numbered)


def _as_float(rows: Tensor) -> Tensor:
    return rows.to(torch.float32)
