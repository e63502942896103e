"""Segmentation: a class for each pixel or voxel, scored by Dice and mean IoU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.errors import SpecError
from slopewise.records import MetricRecord
from slopewise.study.tasks._kind import Kind, shape_fault
from slopewise.study.tasks._offer import Offer
from slopewise.study.tasks._scores import Metered, Score, new_metric

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

_CHUNK = 64  # masks that are counted at a time


def _counted(output: Tensor, target: Tensor) -> Tensor:
    """Return which pixels have a class; others hold the data's `ignore_index`, and count nowhere."""
    return (target >= 0) & (target < output.shape[1])


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the counted pixels of each image, 0 for an image without any."""
    counted = _counted(output, target)
    loss = F.cross_entropy(output, target.where(counted, 0), reduction="none") * counted
    return loss.flatten(1).sum(dim=1) / counted.flatten(1).sum(dim=1).clamp(min=1)


def _dice(output: Tensor, target: Tensor) -> Tensor:
    """Return 1 - (2 |P Y| + 1) / (|P| + |Y| + 1), mean over the classes of each image, P the softmax."""
    counted = _counted(output, target)
    truth = _one_hot(target, counted, output.shape[1])
    guess = output.softmax(dim=1) * counted[:, None]
    common, both = (guess * truth).flatten(2).sum(dim=2), (guess + truth).flatten(2).sum(dim=2)
    return (1 - (2 * common + 1) / (both + 1)).mean(dim=1)


def _cross_entropy_and_dice(output: Tensor, target: Tensor) -> Tensor:
    return _cross_entropy(output, target) + _dice(output, target)


def _one_hot(labels: Tensor, counted: Tensor, classes: int) -> Tensor:
    """Return (N, K, ...) of 0 and 1, with 0 for all classes of a pixel that does not count."""
    return (F.one_hot(labels.where(counted, 0), classes) * counted[..., None]).movedim(-1, 1)


class Segmentation(Kind):
    """One class for each pixel of images, or voxel of volumes: cross-entropy over logits (N, K, ...), scored by Dice.

    Pixels whose mask holds no class but `ignore_index` count neither in the loss nor in a score. A network that knows
    nothing gives every pixel the most frequent class of the training masks.

    Args:
        loss: "cross_entropy" (mean over the counted pixels of an image), "dice", their sum "cross_entropy_dice", or
            your own, see `Kind`.
        metrics: Names out of dice and iou, and tables of your own, the primary one first.
        include_background: True to count class 0 in Dice as well. Mean IoU always counts it.

    Raises:
        SpecError: An option is wrong.
    """

    targets = "masks"
    losses = {  # noqa: RUF012
        "cross_entropy": _cross_entropy,
        "dice": _dice,
        "cross_entropy_dice": _cross_entropy_and_dice,
    }
    usual = ("dice", "iou")

    def __init__(self, *, loss: str | None = None, metrics: Any = None, include_background: bool = False) -> None:
        if not isinstance(include_background, bool):
            raise SpecError(f"task.options.include_background: true or false, not {include_background!r}")
        self._background = include_background
        super().__init__(loss=loss, metrics=metrics)

    def offers(self) -> Mapping[str, Offer]:
        """Return Dice and mean IoU."""
        background = self._background
        which = "all classes" if background else "all classes but the background, class 0,"
        definition = (
            f"2 |A ∩ B| / (|A| + |B|) of each class in each image, mean over {which} that are in mask or prediction, "
            "then over the images; an image that has none of them in either is left out"
        )
        dice = MetricRecord("dice", "Dice", "points", "higher", 100.0, 2, span=1.0, margin=1.0, definition=definition)
        return {"dice": Offer(dice, lambda classes: _dice_score(classes, background)), "iou": _IOU}

    def constant(self, data: ImageData) -> Tensor:
        """Return logits (1, K, ...) that are largest for the most frequent class of the training masks."""
        classes, counts = len(data.classes), torch.zeros(len(data.classes), dtype=torch.int64)
        for index in torch.arange(len(data.train_targets)).split(_CHUNK):
            masks = data.train_targets[index]
            counts += torch.bincount(masks[(masks >= 0) & (masks < classes)], minlength=classes)
        logits = F.one_hot(counts.argmax(), classes).float()
        sizes = data.test_targets.shape[1:]
        return logits.view(1, classes, *(1 for _ in sizes)).expand(1, classes, *sizes)

    @property
    def loss_metric(self) -> MetricRecord:
        """Loss in nats if it is cross-entropy alone."""
        loss = super().loss_metric
        if self._loss_name != "cross_entropy":
            return loss
        definition = "mean cross-entropy over the counted pixels of each image, then over the images of the part"
        return MetricRecord("loss", "loss", "nats", "lower", definition=definition)

    def outputs(self, data: ImageData) -> int:
        """Return the number of classes."""
        return len(data.classes)

    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:
        """Return the logits' shape (images, classes, sizes of the masks), unless the output has it."""
        expected = (len(target), len(data.classes), *target.shape[1:])
        return shape_fault(output, expected, "logits {} (images, classes, sizes of the masks)")

    def class_scores(self) -> dict[str, Score]:
        """Return the IoU of each class."""
        return {"iou": _jaccard(self._classes, average=None)}


def _dice_score(classes: int, background: bool) -> Score:
    metric = new_metric(
        "segmentation",
        "DiceScore",
        num_classes=classes,
        include_background=background,
        average="macro",
        aggregation_level="samplewise",
        input_format="one-hot",  # index maps cannot leave pixels out
    )

    def prepare(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        counted = _counted(output, target)
        return _one_hot(output.argmax(dim=1), counted, classes), _one_hot(target, counted, classes)

    return Metered(metric, prepare)


def _jaccard(classes: int, average: str | None) -> Score:
    metric = new_metric("classification", "MulticlassConfusionMatrix", classes, normalize=None, validate_args=False)

    def prepare(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        counted = _counted(output, target)
        return output.argmax(dim=1)[counted], target[counted]

    def read(counts: Tensor) -> Tensor:
        common = counts.diagonal().double()
        union = counts.sum(dim=0) + counts.sum(dim=1) - common
        ratios = common / union  # NaN of a class that is neither in masks nor in predictions
        return ratios if average is None else ratios.nanmean()

    return Metered(metric, prepare, read)


_IOU = Offer(
    MetricRecord(
        "iou",
        "mean IoU",
        "points",
        "higher",
        100.0,
        2,
        span=1.0,
        margin=1.0,
        definition="|A ∩ B| / |A ∪ B| of each class over the pixels of all images of the part together, then the mean "
        "over all classes, background included, that are in masks or predictions",
    ),
    lambda classes: _jaccard(classes, average="macro"),
)
