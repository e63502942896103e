"""Predictions of a study's network for images that it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.study.data import Preparation

_AT_ONCE = 64  # images in a forward pass


@dataclass(frozen=True)
class Prediction:
    """Prediction for one image.

    Attributes:
        label: The most probable class.
        probability: Its probability, the softmax of the network's output.
        probabilities: Probability of each class.
    """

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Predictor:
    """Network of a trial with its final weights, and the preparation of images for it; see `load_predictor`.

    Attributes:
        model: The network, in evaluation mode on the CPU.
        classes: Names of the classes, in the order of the network's outputs.
        prepare: Function that returns an image as the network takes it, (1, C, H, W), given a path of a picture, a
            Pillow image, or pixels; its `shape` is that of an image.
    """

    model: nn.Module
    classes: tuple[str, ...]
    prepare: Preparation

    def __call__(self, images: Iterable[Any]) -> list[Prediction]:
        """Return the prediction for each image.

        Args:
            images: Paths of pictures, Pillow images, or pixels (C, H, W) in the scale of the study's data.

        Raises:
            DataError: A picture cannot be read, or pixels have another shape.
        """
        return [self._named(row) for batch in self._batches(images) for row in batch]

    def _batches(self, images: Iterable[Any]) -> Iterator[Tensor]:
        """Yield the probabilities (N, K) of a few images at a time."""
        prepared = map(self.prepare, images)
        device = next((parameter.device for parameter in self.model.parameters()), None)
        while batch := list(islice(prepared, _AT_ONCE)):
            with torch.inference_mode():
                yield self.model(torch.cat(batch).to(device)).double().softmax(dim=1).cpu()

    def _named(self, row: Tensor) -> Prediction:
        probabilities = dict(zip(self.classes, row.tolist(), strict=True))
        label = self.classes[int(row.argmax())]
        return Prediction(label, probabilities[label], probabilities)
