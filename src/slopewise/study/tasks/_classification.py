"""Image classification: cross-entropy, scored by accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.records import MetricRecord, classification_metrics
from slopewise.study.tasks._base import Scorer, Task

if TYPE_CHECKING:
    from slopewise.study.data import ImageData


class Classification(Task):
    """One label for each image: cross-entropy over logits (N, K), scored by accuracy.

    A network that knows nothing scores 1 / K.
    """

    def metrics(self, data: ImageData) -> tuple[MetricRecord, ...]:
        """Return accuracy."""
        return classification_metrics(len(data.classes))[:1]

    def outputs(self, data: ImageData) -> int:
        """Return the number of classes."""
        return len(data.classes)

    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:
        """Return the logits' shape (images, classes), unless the output has it."""
        expected = (len(target), len(data.classes))
        fits = isinstance(output, Tensor) and tuple(output.shape) == expected
        return None if fits else f"logits {expected} (images, classes)"

    def loss(self, output: Tensor, target: Tensor, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
        """Return the cross-entropy in nats."""
        return F.cross_entropy(output, target, reduction=reduction)

    def scorer(self) -> Scorer:
        """Return a counter of correct predictions."""
        return _Accuracy()


class _Accuracy(Scorer):
    """Fraction of images whose largest logit is that of their class.

    Counts stay on the device until `compute`, so that training does not wait for each step.
    """

    def __init__(self) -> None:
        self._correct: Tensor | None = None
        self._images = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        correct = (output.argmax(dim=1) == target).sum()
        self._correct = correct if self._correct is None else self._correct + correct
        self._images += len(target)

    def compute(self) -> dict[str, Tensor]:
        correct = torch.tensor(float("nan")) if self._correct is None else self._correct
        return {"accuracy": correct.double() / max(self._images, 1)}
