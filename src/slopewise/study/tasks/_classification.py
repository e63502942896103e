"""Image classification: cross-entropy, scored by accuracy or what a spec chooses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.errors import SpecError
from slopewise.records import MetricRecord, classification_metrics
from slopewise.study.tasks._base import Reduction
from slopewise.study.tasks._kind import Kind, shape_fault
from slopewise.study.tasks._offer import Offer
from slopewise.study.tasks._scores import Metered, Score, new_metric

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

_TOP = 5


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="none")


class Classification(Kind):
    """One label for each image: cross-entropy over logits (N, K), scored by accuracy.

    A network that knows nothing has an accuracy of 1 / K.

    Args:
        loss: "cross_entropy", or your own, see `Kind`.
        metrics: Names out of accuracy, balanced_accuracy, macro_f1, auroc and top5, and tables of your own, the primary
            one first; None is accuracy alone.
    """

    losses = {"cross_entropy": _cross_entropy}  # noqa: RUF012
    usual = ("accuracy",)

    def offers(self) -> Mapping[str, Offer]:
        """Return accuracy, balanced accuracy, macro F1, AUROC and top-5 accuracy."""
        return _OFFERS

    def bind(self, data: ImageData) -> Self:
        """Return the task with the number of classes.

        Raises:
            SpecError: Top-5 accuracy is asked for of five classes or fewer.
        """
        if "top5" in self._chosen and len(data.classes) <= _TOP:
            raise SpecError(f"task.options.metrics: top5 of {len(data.classes)} classes is always 100 %: leave it out")
        return super().bind(data)

    def chance(self, primary: str, data: ImageData) -> float | None:
        """Return 1 / K for accuracy; for other metrics the score of the training part's frequencies as logits."""
        return 1 / len(data.classes) if primary == "accuracy" else super().chance(primary, data)

    def constant(self, data: ImageData) -> Tensor:
        """Return the logarithms of the training part's frequencies, (1, K)."""
        labels = data.train_targets[torch.arange(len(data.train_targets))]
        return torch.bincount(labels, minlength=len(data.classes)).double().clamp(min=1e-3).log()[None]

    @property
    def loss_metric(self) -> MetricRecord:
        """Cross-entropy in nats, or a loss of the user's own."""
        return super().loss_metric if self.own_loss else classification_metrics(2)[1]

    def outputs(self, data: ImageData) -> int:
        """Return the number of classes."""
        return len(data.classes)

    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:
        """Return the logits' shape (images, classes), unless the output has it."""
        return shape_fault(output, (len(target), len(data.classes)), "logits {} (images, classes)")

    def loss(self, output: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy in nats, or the user's own loss."""
        if self.own_loss:
            return super().loss(output, target, reduction)
        return F.cross_entropy(output, target, reduction=reduction)

    def class_scores(self) -> dict[str, Score]:
        """Return the recall of each class."""
        return {"recall": _Recall()}


class _Accuracy(Score):
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

    def compute(self) -> Tensor:
        correct = torch.tensor(float("nan")) if self._correct is None else self._correct
        return correct.double() / max(self._images, 1)

    def state_dict(self) -> dict[str, Any]:
        return {"correct": self._correct, "images": self._images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._correct, self._images = state["correct"], state["images"]


class _Recall(Score):
    """Fraction of the images of each class whose largest logit is that of their class; NaN for a class without one."""

    def __init__(self) -> None:
        self._counts: Tensor | None = None  # (2, K): correct images, and all

    def update(self, output: Tensor, target: Tensor) -> None:
        correct = target[output.argmax(dim=1) == target]
        counts = torch.stack([torch.bincount(labels, minlength=output.shape[1]) for labels in (correct, target)])
        self._counts = counts if self._counts is None else self._counts + counts

    def compute(self) -> Tensor:
        counts = torch.full((2, 0), torch.nan) if self._counts is None else self._counts
        return counts[0].double() / counts[1]  # 0 / 0 is NaN


def _labels(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    return output.argmax(dim=1), target


def _logits(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    return output, target


def _probabilities(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Return the softmax in float64: large logits would tie in float32."""
    return output.double().softmax(dim=1), target


def _balanced(classes: int) -> Score:
    metric = new_metric("classification", "MulticlassStatScores", classes, average=None, validate_args=False)

    def read(counts: Tensor) -> Tensor:  # (K, 5): true and false positives, true and false negatives, images
        present = counts[:, 4] > 0
        return (counts[present, 0].double() / counts[present, 4]).mean()

    return Metered(metric, _labels, read)


def _macro_f1(classes: int) -> Score:
    metric = new_metric("classification", "MulticlassStatScores", classes, average=None, validate_args=False)

    def read(counts: Tensor) -> Tensor:
        hits, false, _, missed, _ = counts.double().unbind(dim=1)
        seen = hits + false + missed > 0
        return (2 * hits / (2 * hits + false + missed))[seen].mean()

    return Metered(metric, _labels, read)


def _auroc(classes: int) -> Score:
    metric = new_metric(
        "classification", "MulticlassAUROC", classes, average=None, thresholds=None, validate_args=False
    )
    return _Present(metric, _probabilities)


def _top5(classes: int) -> Score:
    metric = new_metric(
        "classification", "MulticlassStatScores", classes, top_k=_TOP, average="micro", validate_args=False
    )
    return Metered(metric, _logits, lambda counts: counts[0].double() / counts[4])


class _Present(Metered):
    """Mean over the classes that have images and are not the only one; torchmetrics would count 0 for the others."""

    def compute(self) -> Tensor:
        target = self.every("target")
        images = torch.bincount(target, minlength=self._metric.num_classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # names the classes that are left out here
            scores = super().compute()
        known = (images > 0) & (images < images.sum())
        return scores[known].mean()  # NaN of no class


def _points(name: str, title: str, definition: str, **fields: Any) -> MetricRecord:
    return MetricRecord(name, title, "points", "higher", 100.0, 2, span=1.0, definition=definition, **fields)


_OFFERS = {
    "accuracy": Offer(classification_metrics(2)[0], lambda _: _Accuracy()),
    "balanced_accuracy": Offer(
        _points(
            "balanced_accuracy",
            "balanced accuracy",
            "recall of each class, the share of its images whose largest logit is that of the class, then the mean "
            "over the classes that the part has images of",
            margin=0.5,
        ),
        _balanced,
    ),
    "macro_f1": Offer(
        _points(
            "macro_f1",
            "macro F1",
            "2 TP / (2 TP + FP + FN) of each class over the images of the part, then the mean over the classes that "
            "occur in labels or predictions",
        ),
        _macro_f1,
    ),
    "auroc": Offer(
        _points(
            "auroc",
            "AUROC",
            "area under the ROC curve of each class against the rest, over the images of the part, then the mean over "
            "the classes that the part has images of",
        ),
        _auroc,
    ),
    "top5": Offer(
        _points(
            "top5",
            "top-5 accuracy",
            "share of the images of the part whose class is among the five largest logits",
            per_image=True,
            margin=0.5,
        ),
        _top5,
    ),
}
