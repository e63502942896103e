"""Masks: one class for each pixel of an image, or voxel of a volume."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._gathered import Masks
from slopewise.study.data._kind import PARTS, PreparedTargets, check_counts, parts_of, place
from slopewise.study.data._parts import listed
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages, chunks, pixels_of

_MOST = 2**16  # distinct values that masks of classes may span
_LOSSY = 20  # values without a class, from which on a lossy format is suspected
_WHITE = 255  # of pictures that show two classes as black and white


def prepare_masks(raw: RawData, spec: DataSpec, reader: ImageReader) -> PreparedTargets:
    """Check masks (N, *spatial sizes of the images) of classes 0 to K - 1, or of the value `data.ignore_index`.

    Masks of 0 and 255 alone are taken for classes 0 and 1.

    Raises:
        DataError: The masks have other sizes than the images, or values that are no classes, or show one class alone.
    """
    check_counts(raw, "mask")
    train, test = (reader.store(_shaped(masks, images, part)) for part, images, masks in parts_of(raw))
    ignored = spec.ignore_index
    counts = _values(train, ignored, "training"), _values(test, ignored, "test")
    notes = []
    if ignored is not None and not any(ignored in values for values in counts):
        notes.append(f"data.ignore_index = {ignored}, which no pixel of a mask has")
    present = [{value: n for value, n in values.items() if value != ignored} for values in counts]
    values = sorted(set().union(*present))
    names = raw.classes
    unit = 1
    if values == [0, _WHITE] and len(names) in (0, 2):
        unit, values = _WHITE, [0, 1]
        notes.append("masks hold 0 and 255, which are taken for classes 0 and 1")
    _check_classes(values, names, present, ignored)
    names = names or tuple(map(str, values))
    if missing := [repr(name) for k, name in enumerate(names) if k * unit not in present[0]]:
        notes.append(f"no training mask shows class {listed(missing)}")
    masks = Masks(train, ignored=ignored, unit=unit), Masks(test, ignored=ignored, unit=unit)
    notes += _about_empty(raw, masks)
    return PreparedTargets(*masks, names, tuple(notes))


def _shaped(masks: Tensor | StoredImages, images: StoredImages, part: str) -> Tensor | StoredImages:
    """Return masks without an axis of one channel, after a check of their sizes."""
    sizes, shape = images.shape[2:], tuple(masks.shape[1:])
    if isinstance(masks, Tensor) and shape in ((1, *sizes), (*sizes, 1)):
        masks, shape = masks.reshape(len(masks), *sizes), sizes
    if shape != sizes:
        where = f"{part} masks are each of shape {shape}, their images of {' x '.join(map(str, sizes))}"
        if shape in ((3, *sizes), (*sizes, 3), (4, *sizes), (*sizes, 4)):
            raise DataError(f"data: {where}: colours must be turned into one number a pixel, that of its class")
        if len(shape) == len(sizes) + 1 and sizes in (shape[1:], shape[:-1]):
            axis = 1 if shape[1:] == sizes else -1
            raise DataError(f"data: {where}: for one channel a class, take masks.argmax({axis})")
        raise DataError(f"data: {where}: bring both to the same height and width")
    if masks.dtype.is_floating_point:
        for chunk in chunks(pixels_of(masks)):
            if (broken := chunk != chunk.floor()).any():  # NaN is no whole number, either
                odd = chunk[broken][0].item()
                raise DataError(f"data: {part} masks hold {odd:.4g}, but must be whole numbers of classes 0, 1, ...")
    return masks


def without_channel(mask: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return one mask in the sizes of its image, without an axis of one channel at either end."""
    return mask.reshape(sizes) if tuple(mask.shape) in ((1, *sizes), (*sizes, 1)) else mask


def _values(masks: StoredImages, ignored: int | None, part: str) -> dict[int, int]:
    """Return the values of all pixels, with the number of pixels of each."""
    counts: dict[int, int] = {}
    for chunk in chunks(masks.tensor):
        every = chunk.to(torch.int64).flatten()
        values = every if ignored is None else every[every != ignored]
        if len(values) < len(every) and ignored is not None:
            counts[ignored] = counts.get(ignored, 0) + len(every) - len(values)
        if not len(values):
            continue
        low, high = (int(end) for end in values.aminmax())
        if high - low >= _MOST:
            raise DataError(f"data: {part} masks run from {low} to {high}: give the numbers of the classes, 0, 1, ...")
        for value, count in enumerate(torch.bincount(values - low).tolist(), start=low):
            if count:
                counts[value] = counts.get(value, 0) + count
    return counts


def _check_classes(
    values: list[int], names: tuple[str, ...], present: list[dict[int, int]], ignored: int | None
) -> None:
    for part, counts in zip(PARTS, present, strict=True):
        if not counts:
            raise DataError(f"data: all pixels of the {part} masks have the value data.ignore_index = {ignored}")
    if names:
        beyond = [value for value in values if not 0 <= value < len(names)]
        known = f"but there are {len(names)} classes, 0 to {len(names) - 1}"
    else:
        beyond = [] if values == list(range(len(values))) else values
        known = "but classes are numbered 0, 1, ... without a gap"
    if beyond:
        odd = _odd(beyond)
        where = " and ".join(part for part, counts in zip(PARTS, present, strict=True) if odd in counts)
        advice = f"say data.ignore_index = {odd} if {odd} ({where}) marks pixels without a class"
        if ignored is not None:
            advice = f"say another data.ignore_index than {ignored}, which is left out of the classes"
        elif len(beyond) > _LOSSY:
            advice = "save them without loss (PNG), if they were saved as JPEG, which changes values"
        raise DataError(
            f"data: masks hold {listed(list(map(str, beyond)))}, {known}: renumber or name them in "
            f"data.classes, or {advice}"
        )
    if len(values) < 2 and len(names) < 2:
        raise DataError(f"data: all pixels of all masks are class {values[0]}, so there is nothing to tell apart")
    if len(present[0]) < 2:
        raise DataError(
            f"data: all pixels of all training masks are of one class, {next(iter(present[0]))}, so there is nothing "
            "to learn: add images that show another"
        )


def _odd(values: Iterable[int]) -> int:
    """Return the value that most probably marks pixels without a class: a negative one, or the largest."""
    return min(values) if min(values) < 0 else max(values)


def _about_empty(raw: RawData, parts: tuple[Masks, Masks]) -> list[str]:
    """Return notes on masks that show nothing but class 0."""
    notes = []
    for number, masks in enumerate(parts):
        index = torch.arange(len(masks))
        empty = torch.cat([(masks[rows] <= 0).flatten(1).all(dim=1) for rows in index.split(256)])
        if empty.any():
            notes.append(
                f"{int(empty.sum())} of {len(masks)} {PARTS[number]} masks show no class but the first: "
                f"{place(raw, number, int(empty.nonzero()[0]))} for example"
            )
    return notes
