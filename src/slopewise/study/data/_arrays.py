"""Images and labels given as arrays: the shapes that people keep them in, brought to (N, C, H, W)."""

from __future__ import annotations

from torch import Tensor

from slopewise.errors import DataError
from slopewise.study.data._base import RawData

_MOST_CHANNELS = 4  # a last axis of at most this size is taken for channels


def from_arrays(x_train: Tensor, y_train: Tensor, x_test: Tensor, y_test: Tensor) -> RawData:
    """Raw data with classes named by their numbers, from 0 to the largest label.

    Raises:
        DataError: labels are not integers, or images have no axis for height and width.
    """
    for labels, part in ((y_train, "training"), (y_test, "test")):
        if not labels.numel():
            raise DataError(f"data: no {part} images")
        if labels.is_floating_point() or labels.is_complex():
            raise DataError(f"data: {part} labels are {labels.dtype}, but must be integers 0, 1, ...")
    train_labels, test_labels = y_train.flatten().long(), y_test.flatten().long()
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    return RawData(
        channels_first(x_train, "training"),
        train_labels,
        channels_first(x_test, "test"),
        test_labels,
        tuple(map(str, range(classes))),
    )


def channels_first(images: Tensor, part: str) -> Tensor:
    """(N, H, W), (N, C, H, W) or (N, H, W, C) to (N, C, H, W).

    Example:
        >>> import torch
        >>> channels_first(torch.zeros(5, 28, 28, 3), "training").shape
        torch.Size([5, 3, 28, 28])
    """
    if images.is_complex():
        raise DataError(f"data: {part} images are {images.dtype}, but must be real numbers")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        raise DataError(f"data: {part} images have shape {tuple(images.shape)}, but must be (N, C, H, W) or (N, H, W)")
    last = images.shape[3] <= _MOST_CHANNELS < images.shape[1]
    return images.permute(0, 3, 1, 2).contiguous() if last else images
