"""Stored images and targets that trials gather by index, converted on access.

The operations on one image do not depend on its batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from slopewise.study.data._stored import StoredImages
from slopewise.study.data._targets import IGNORED


class PickledAsArrays:
    """Base of classes whose tensors are pickled as NumPy arrays.

    PyTorch pickles tensors for other processes through files in /dev/shm, which is small in containers.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(
            (name, torch.from_numpy(value) if isinstance(value, np.ndarray) else value) for name, value in state.items()
        )


class Gathered(PickledAsArrays, ABC):
    """Stored images, or the selection of an index."""

    def __init__(self, pixels: StoredImages) -> None:
        self._pixels = pixels
        self._index: Tensor | None = None

    @property
    def pixels(self) -> Tensor:
        """All stored pixels, unconverted, whether selected or not."""
        return self._pixels.tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, with the number of images first."""
        return (len(self), *self._pixels.shape[1:])

    def __len__(self) -> int:
        return len(self._pixels if self._index is None else self._index)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self._converted(self._pixels.tensor[index if self._index is None else self._index[index]])

    def select(self, index: Tensor | None) -> Self:
        """Return the images of an index; None selects all."""
        selection = object.__new__(type(self))
        selection.__dict__.update(self.__dict__, _index=index)
        return selection

    def scale(self) -> dict[str, Any]:
        """Return what images of other sources need to be converted alike, as plain data; {} if nothing is needed."""
        return {}

    @abstractmethod
    def _converted(self, pixels: Tensor) -> Tensor:
        """Return stored pixels as trials get them."""


class NormalisedImages(Gathered):
    """Images (N, C, *spatial sizes) as float32, reduced by the mean of their channel and divided by its deviation.

    Attributes:
        mean, deviation: Mean and standard deviation of each channel, which images of other sources need as well.

    Example:
        >>> pixels = StoredImages((2, 1, 1, 1), torch.uint8)
        >>> pixels.write(0, torch.tensor([3, 7], dtype=torch.uint8).view(2, 1, 1, 1))
        >>> NormalisedImages(pixels, mean=torch.tensor([5.0]), deviation=torch.tensor([2.0]))[torch.tensor([1])]
        tensor([[[[1.]]]])
    """

    def __init__(self, pixels: StoredImages, *, mean: Tensor, deviation: Tensor) -> None:
        super().__init__(pixels)
        channels = (-1, *[1] * (len(pixels.shape) - 2))
        self.mean, self.deviation = mean.view(channels), deviation.view(channels)

    def scale(self) -> dict[str, Any]:
        """Return mean and deviation of each channel; a float32 survives the way through JSON."""
        return {"mean": self.mean.flatten().tolist(), "deviation": self.deviation.flatten().tolist()}

    def _converted(self, pixels: Tensor) -> Tensor:
        return standardised(pixels, self.mean, self.deviation)


def standardised(pixels: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return pixels as float32, less the mean and divided by the deviation."""
    return pixels.to(torch.float32).sub(mean).div_(deviation)


class ScaledImages(Gathered):
    """Images (N, C, *spatial sizes) as float32, divided by the range of the data.

    Example:
        >>> pixels = StoredImages((1, 1, 1, 2), torch.uint8)
        >>> pixels.write(0, torch.tensor([51, 255], dtype=torch.uint8).view(1, 1, 1, 2))
        >>> ScaledImages(pixels, data_range=255.0)[torch.tensor([0])]
        tensor([[[[0.2000, 1.0000]]]])
    """

    def __init__(self, pixels: StoredImages, *, data_range: float) -> None:
        super().__init__(pixels)
        self._range = data_range

    def _converted(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32).div_(self._range)


class Masks(Gathered):
    """Masks (N, *spatial sizes) as int64 numbers of classes, and `IGNORED` where the stored value is `ignored`.

    Args:
        pixels: Stored masks.
        ignored: Stored value of pixels without a class; None if every pixel has one.
        unit: Stored value of class 1; class k is stored as k times it.

    Example:
        >>> pixels = StoredImages((1, 3), torch.uint8)
        >>> pixels.write(0, torch.tensor([0, 1, 255], dtype=torch.uint8))
        >>> Masks(pixels, ignored=255)[torch.tensor([0])]
        tensor([[   0,    1, -100]])
    """

    def __init__(self, pixels: StoredImages, *, ignored: int | None = None, unit: int = 1) -> None:
        super().__init__(pixels)
        self._ignored, self._unit = ignored, unit

    def _converted(self, pixels: Tensor) -> Tensor:
        values = pixels.to(torch.int64)
        classes = values if self._unit == 1 else values // self._unit
        return classes if self._ignored is None else classes.masked_fill(values == self._ignored, IGNORED)
