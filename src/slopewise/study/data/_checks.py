"""Checks across all images: errors for unusable data, and notes about data that are perhaps not as intended."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study.data._base import RawData
from slopewise.study.data._kind import PARTS, parts_of, place
from slopewise.study.data._stored import pixels_of

_CHUNK = 2**22  # numbers that are examined at a time
_FAR = 1.7  # ratio of two parts' spans, or
_SHIFTED = 0.4  # distance of their centres in spans, above which a note is given
_OTHER_SCALE = 20  # ratio of spans that only different scales explain
_WHITES = (255, 65535)  # of picture files
_UNLIKE = 50  # ratio of one image's span to the others'


@dataclass(frozen=True)
class _Part:
    """Smallest and largest value of each channel of each image, (N, C)."""

    name: str
    low: Tensor
    high: Tensor

    @property
    def span(self) -> Tensor:
        return self.high.amax(dim=1) - self.low.amin(dim=1)

    @property
    def centre(self) -> Tensor:
        return (self.high.amax(dim=1) + self.low.amin(dim=1)) / 2


def check_pixels(raw: RawData) -> list[str]:
    """Check every pixel, and return notes about what looks wrong.

    Returns:
        Notes on constant images, on parts or images of other scales, and on identical images.

    Raises:
        DataError: Pixels are NaN or infinite, all are the same, or the parts cannot be on one scale.
    """
    train, test = _extremes(pixels_of(raw.train_images), PARTS[0]), _extremes(pixels_of(raw.test_images), PARTS[1])
    notes = _about_constants(raw, train, test)
    notes += _about_scales(raw, train, test)
    return notes + _about_copies(raw)


def _extremes(images: Tensor, name: str) -> _Part:
    flat = images.flatten(2)
    unsigned = images.dtype in (
        torch.uint16,
        torch.uint32,
        torch.uint64,
    )  # torch has few operations on them
    ends = []
    for chunk in flat.split(max(1, _CHUNK // max(1, flat[0].numel()))):
        low, high = (chunk.to(torch.float64) if unsigned else chunk).aminmax(dim=2)
        ends.append((low.to(torch.float32), high.to(torch.float32)))
    part = _Part(name, torch.cat([low for low, _ in ends]), torch.cat([high for _, high in ends]))
    bad = ~(part.low.isfinite() & part.high.isfinite()).all(dim=1)
    if bad.any():
        raise DataError(
            f"data: {int(bad.sum())} of {len(images)} {name} images hold NaN or infinity, the first at index "
            f"{int(bad.nonzero()[0])}: clean or drop them"
        )
    return part


def _about_constants(raw: RawData, train: _Part, test: _Part) -> list[str]:
    notes = []
    for number, part in enumerate((train, test)):
        value = part.low[0, 0].item()
        if (part.low == value).all() and (part.high == value).all():
            raise DataError(
                f"data: all pixels of all {part.name} images are the constant {value:g}, so that there is nothing "
                f"to learn from: look at how the images were made or converted{_if_white(raw, value)}"
            )
        constant = (part.low == part.high).all(dim=1)
        if constant.any():
            first = int(constant.nonzero()[0])
            notes.append(
                f"{int(constant.sum())} of {len(constant)} {part.name} images are constant, all pixels of one being "
                f"equal: {place(raw, number, first)} for example{_if_white(raw, part.low[first].min().item())}"
            )
    same = (train.low == train.low[0]).all(dim=0) & (train.high == train.low[0]).all(dim=0)
    if same.any():
        numbers = ", ".join(map(str, same.nonzero().flatten().tolist()))
        notes.append(f"channels {numbers} (from 0) of {len(same)} are constant over all training images")
    return notes


def _if_white(raw: RawData, value: float) -> str:
    """Return a clause about a picture file that came out white: it may show white shapes on a transparent ground."""
    hidden = raw.names is not None and value in _WHITES
    return " (transparency is laid on white, where white shapes are not seen)" if hidden else ""


def _about_scales(raw: RawData, train: _Part, test: _Part) -> list[str]:
    notes = []
    for number, part in enumerate((train, test)):
        middle = part.span[part.span > 0].median().item() if (part.span > 0).any() else 0.0
        odd = (part.span > 0) & ((part.span < middle / _UNLIKE) | (part.span > middle * _UNLIKE))
        if odd.any() and raw.kind != "images":  # patches of pictures are as flat as what they show
            index = int(odd.nonzero()[0])
            low, high = part.low[index].min().item(), part.high[index].max().item()
            notes.append(
                f"{int(odd.sum())} of {len(odd)} {part.name} images are on another scale than the rest: "
                f"{place(raw, number, index)} runs from {low:.3g} to {high:.3g}, images mostly span {middle:.3g}"
            )
    spans = [part.span.median().item() for part in (train, test)]
    if min(spans) <= 0:
        return notes
    ratio, shift = spans[1] / spans[0], (test.centre.median() - train.centre.median()).abs().item() / max(spans)
    if max(ratio, 1 / ratio) >= _FAR or shift >= _SHIFTED:
        ends = [f"{part.low.median().item():.3g} to {part.high.median().item():.3g}" for part in (train, test)]
        words = f"training and test images are on different scales: they mostly run from {ends[0]} and from {ends[1]}"
        if max(ratio, 1 / ratio) >= _OTHER_SCALE:
            raise DataError(f"data: {words}: bring both to one, for instance both divided by 255 or neither")
        notes.append(words)
    return notes


def _about_copies(raw: RawData) -> list[str]:
    """Return notes on images that are identical across two classes, or across both parts."""
    places: dict[bytes, list[tuple[int, int, int]]] = defaultdict(list)  # (part, index, label) by content
    for part, (_, images, targets) in enumerate(parts_of(raw)):
        labels = targets.tolist() if raw.kind == "labels" else [0] * len(targets)
        for index, (image, label) in enumerate(zip(pixels_of(images).numpy(), labels, strict=True)):
            places[hashlib.blake2b(image.tobytes(), digest_size=16).digest()].append((part, index, label))
    several = [group for group in places.values() if len(group) > 1]
    notes = []
    if mixed := [group for group in several if len({label for _, _, label in group}) > 1]:
        one = mixed[0][0]
        other = next(copy for copy in mixed[0] if copy[2] != one[2])
        notes.append(
            f"{sum(map(len, mixed))} images are identical to one of another class: {place(raw, *one[:2])} of class "
            f"'{raw.classes[one[2]]}' and {place(raw, *other[:2])} of class '{raw.classes[other[2]]}'"
        )
    if shared := [group for group in several if len({part for part, _, _ in group}) > 1]:
        count = sum(part for group in shared for part, _, _ in group)
        one, other = shared[0][0], next(copy for copy in shared[0] if copy[0] == 1)
        notes.append(
            f"{count} of {len(raw.test_targets)} test images are identical to training images: "
            f"{place(raw, *other[:2])} and {place(raw, *one[:2])}"
        )
    return notes
