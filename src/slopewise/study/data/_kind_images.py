"""Images as targets: restoration, where inputs and targets share one range of values."""

from __future__ import annotations

import torch

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import RawData
from slopewise.study.data._gathered import ScaledImages
from slopewise.study.data._kind import PreparedTargets, check_counts, parts_of
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._stored import StoredImages, chunks

_RANGES = {torch.bool: 1.0, torch.uint8: 255.0, torch.uint16: 65535.0}


def prepare_images(raw: RawData, spec: DataSpec, reader: ImageReader) -> PreparedTargets:
    """Check targets (N, C, *spatial sizes), whose sizes are those of the images times one whole factor.

    Raises:
        DataError: The sizes do not fit, values lie outside the data's range, or inputs and targets are the same.
    """
    check_counts(raw, "target")
    pairs = [(part, images, reader.store(targets)) for part, images, targets in parts_of(raw)]
    (_, inputs, train), (_, _, test) = pairs
    for part, images, targets in pairs:
        _check_factor(images.shape, targets.shape, part)
    if train.shape[1:] != test.shape[1:]:
        shapes = f"{train.shape[1:]} and {test.shape[1:]}"
        raise DataError(f"data: training and test targets have different shapes, {shapes}: make them equal")
    data_range = _range(raw, spec, inputs, train)
    for part, images, targets in pairs:
        _check_range(images, data_range, f"{part} images")
        _check_range(targets, data_range, f"{part} targets")
    if inputs.shape == train.shape and torch.equal(inputs.tensor, train.tensor):
        raise DataError("data: training targets are the same as the images, so there is nothing to restore")
    scaled = [ScaledImages(targets, data_range=data_range) for targets in (train, test)]
    return PreparedTargets(scaled[0], scaled[1], (), data_range=data_range)


def _check_factor(images: tuple[int, ...], targets: tuple[int, ...], part: str) -> None:
    factor = targets[-1] // images[-1]
    if len(targets) != len(images) or factor < 1 or targets[2:] != tuple(factor * size for size in images[2:]):
        sizes = (" x ".join(map(str, shape[2:])) for shape in (images, targets))
        raise DataError(
            f"data: {part} images are {next(sizes)} and their targets {next(sizes)}: each size of a target must be "
            "that of the image, or the same whole multiple of it"
        )


def _range(raw: RawData, spec: DataSpec, images: StoredImages, targets: StoredImages) -> float:
    if spec.data_range is not None:
        return spec.data_range
    if raw.data_range is not None:
        return raw.data_range
    types = {str(stored.dtype).removeprefix("torch."): stored.dtype for stored in (images, targets)}
    if len(types) > 1:
        raise DataError(
            f"data: images are {' and targets '.join(types)}: give both one number type, or say by data.data_range how "
            "large a pixel can be"
        )
    name, dtype = next(iter(types.items()))
    if dtype.is_floating_point:
        return 1.0
    if dtype not in _RANGES:
        raise DataError(f"data.data_range: say how large a pixel can be, which {name} does not tell")
    return _RANGES[dtype]


def _check_range(images: StoredImages, data_range: float, what: str) -> None:
    ends = [
        (chunk.to(torch.float64) if not chunk.is_floating_point() else chunk).aminmax()
        for chunk in chunks(images.tensor)
    ]
    low, high = min(float(end.min) for end in ends), max(float(end.max) for end in ends)
    if not (low >= 0 and high <= data_range):  # NaN is refused, too
        shift = ": bring them to 0 and more" if low < 0 else ", or say data.data_range"
        raise DataError(
            f"data: {what} run from {low:.4g} to {high:.4g}, outside 0 to {data_range:g}, the range of the data{shift}"
        )
