"""Several labels for each image: binary cross-entropy, scored by macro AUROC, mean average precision and macro F1."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.records import MetricRecord
from slopewise.study.tasks._kind import Kind, shape_fault
from slopewise.study.tasks._losses import per_image
from slopewise.study.tasks._offer import Offer
from slopewise.study.tasks._scores import Metered, Score, new_metric

if TYPE_CHECKING:
    from slopewise.study.data import ImageData


def _binary_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return per_image(F.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="none"))


class Multilabel(Kind):
    """Any of K labels for each image: binary cross-entropy over logits (N, K), scored by macro AUROC.

    A network that knows nothing has an AUROC of 1/2. No metric has a default margin.

    Args:
        loss: "binary_cross_entropy", or your own, see `Kind`.
        metrics: Names out of auroc, map and macro_f1, and tables of your own, the primary one first.
    """

    targets = "multilabel"
    losses = {"binary_cross_entropy": _binary_cross_entropy}  # noqa: RUF012
    usual = ("auroc", "map", "macro_f1")

    def offers(self) -> Mapping[str, Offer]:
        """Return AUROC, mean average precision and F1, each a mean over the labels."""
        return _OFFERS

    def constant(self, data: ImageData) -> Tensor:
        """Return the logits of the labels' frequencies in the training part, (1, K)."""
        targets = data.train_targets[torch.arange(len(data.train_targets))]
        return targets.double().mean(dim=0, keepdim=True).logit(eps=1e-6)

    @property
    def loss_metric(self) -> MetricRecord:
        """Binary cross-entropy in nats, or a loss of the user's own."""
        definition = "binary cross-entropy, mean over the labels, then over the images of the part"
        own = super().loss_metric
        return own if self.own_loss else MetricRecord("loss", "loss", "nats", "lower", definition=definition)

    def outputs(self, data: ImageData) -> int:
        """Return the number of labels."""
        return len(data.classes)

    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:
        """Return the logits' shape (images, labels), unless the output has it."""
        return shape_fault(output, (len(target), len(data.classes)), "logits {} (images, labels)")


def _probabilities(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Return the sigmoid in float64: torchmetrics would guess batch by batch whether these are logits."""
    return output.double().sigmoid(), target.long()


class _OverLabels(Metered):
    """Mean over the labels that the part has images with, and without; torchmetrics would count 0 for the others."""

    def compute(self) -> Tensor:
        target = self.every("target")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # names the labels that are left out here
            scores = super().compute()
        return scores[(target == 1).any(dim=0) & (target == 0).any(dim=0)].mean()  # NaN of no label


def _auroc(labels: int) -> Score:
    metric = new_metric("classification", "MultilabelAUROC", labels, average=None, thresholds=None, validate_args=False)
    return _OverLabels(metric, _probabilities)


def _average_precision(labels: int) -> Score:
    metric = new_metric(
        "classification", "MultilabelAveragePrecision", labels, average=None, thresholds=None, validate_args=False
    )
    return _OverLabels(metric, _probabilities)


def _macro_f1(labels: int) -> Score:
    metric = new_metric("classification", "MultilabelStatScores", labels, average=None, validate_args=False)

    def read(counts: Tensor) -> Tensor:  # (K, 5): true and false positives, true and false negatives, images
        hits, false, _, missed, _ = counts.double().unbind(dim=1)
        seen = hits + false + missed > 0
        return (2 * hits / (2 * hits + false + missed))[seen].mean()

    return Metered(metric, lambda output, target: ((output > 0).long(), target.long()), read)


def _points(name: str, title: str, definition: str, **fields: Any) -> MetricRecord:
    return MetricRecord(name, title, "points", "higher", 100.0, 2, span=1.0, definition=definition, **fields)


_COUNTED = "over the images of the part, then the mean over the labels that some of them have and some have not"
_OFFERS = {
    "auroc": Offer(_points("auroc", "AUROC", f"area under the ROC curve of each label {_COUNTED}"), _auroc),
    "map": Offer(
        _points(
            "map",
            "mean average precision",
            f"average precision of each label (sum of precision times step of recall, not interpolated) {_COUNTED}",
        ),
        _average_precision,
    ),
    "macro_f1": Offer(
        _points(
            "macro_f1",
            "macro F1",
            "2 TP / (2 TP + FP + FN) of each label over the images of the part, with a label predicted where its logit "
            "is above 0, then the mean over the labels that occur in targets or predictions",
        ),
        _macro_f1,
    ),
}
