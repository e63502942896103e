"""Base class of slopewise's own tasks: a loss for each image, and metrics that the spec chooses or adds."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from slopewise.errors import SpecError, nearest
from slopewise.records import MetricRecord
from slopewise.study._references import describe, is_reference, resolve
from slopewise.study.tasks._base import Reduction, Scorer, Task
from slopewise.study.tasks._offer import Offer, check_call, chosen
from slopewise.study.tasks._scores import Score, Scores

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

ImageLoss = Callable[[Tensor, Tensor], Tensor]  # (output, target) -> (N,)
_CONSTANT_BATCH = 64


class Kind(Task):
    """A kind of task that slopewise knows.

    Args:
        loss: Name of one of the kind's losses, or your own as `module:callable`: a function (output, target) that
            returns a scalar, the mean over the images of the batch, or a loss for each image (N,); or a class of such
            `torch.nn` modules.
        metrics: Metrics that networks are scored by, the primary one first: names of the kind's own, and tables
            `{name, call, better, ...}` of your own; None takes the kind's usual ones.

    Attributes:
        losses: Losses of the kind by name, the usual one first.
        usual: Names of the metrics that a study has unless it chooses.
    """

    losses: ClassVar[Mapping[str, ImageLoss]]
    usual: ClassVar[tuple[str, ...]]

    def __init__(self, *, loss: str | None = None, metrics: Any = None) -> None:
        self._chosen = chosen(self.offers(), list(self.usual) if metrics is None else metrics)
        self._loss_name = next(iter(self.losses)) if loss is None else loss
        self._image_loss = self.losses.get(self._loss_name) or _own_loss(self._loss_name, list(self.losses))
        self._classes = 0

    @property
    def own_loss(self) -> bool:
        """True if the loss is the user's own."""
        return self._loss_name not in self.losses

    @property
    def loss_metric(self) -> MetricRecord:
        """Loss without a unit, defined by its name."""
        name = f"`{self._loss_name}`" if self.own_loss else self._loss_name
        return MetricRecord("loss", "loss", "", "lower", definition=f"mean {name} over the images of the part")

    @abstractmethod
    def offers(self) -> Mapping[str, Offer]:
        """Return the metrics that the kind offers, by name."""

    @abstractmethod
    def constant(self, data: ImageData) -> Tensor:
        """Return the output (1, ...) of a network that knows the frequencies or mean of the training targets alone."""

    def class_scores(self) -> dict[str, Score]:
        """Return new scores of each class, by name."""
        return {}

    def bind(self, data: ImageData) -> Self:
        """Return the task with the number of classes, labels or values of the data."""
        bound = copy.copy(self)
        bound._classes = self.outputs(data)
        return bound

    def metrics(self, data: ImageData) -> tuple[MetricRecord, ...]:
        """Return the chosen metrics, and as chance of the primary one the score of a constant output."""
        primary, *others = self._chosen.values()
        record = primary.record
        if not primary.floored:
            record = replace(record, chance=self.chance(record.name, data) if record.name in self.offers() else None)
        return (record, *(replace(offer.record, chance=None) for offer in others))

    def chance(self, primary: str, data: ImageData) -> float | None:  # noqa: ARG002 - for subclasses
        """Return the primary metric's score of a network that knows nothing: the constant output, on the test part."""
        scorer, constant = self.bind(data).training_scorer(), self.constant(data)
        for index in torch.arange(len(data.test_targets)).split(_CONSTANT_BATCH):
            scorer.update(constant.expand(len(index), *constant.shape[1:]), data.test_targets[index])
        chance = next(iter(scorer.compute().values())).item()
        return chance if chance == chance else None  # noqa: PLR0124 - NaN where no image counts

    def loss(self, output: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the mean or the sum over the images of the loss of each image."""
        loss = self._image_loss(output, target)
        if loss.ndim == 0:  # a user's own, a mean over the images
            return loss if reduction == "mean" else loss * len(target)
        return loss.mean() if reduction == "mean" else loss.sum()

    def scorer(self) -> Scorer:
        """Return a new scorer of all chosen metrics."""
        scores = {name: offer.score(self._classes) for name, offer in self._chosen.items()}
        return Scores(scores, self.class_scores())

    def training_scorer(self) -> Scorer:
        """Return a new scorer of the primary metric."""
        name, offer = next(iter(self._chosen.items()))
        return Scores({name: offer.score(self._classes)})


def _own_loss(name: object, known: list[str]) -> ImageLoss:
    place = "task.options.loss"
    if not isinstance(name, str) or not is_reference(name):
        raise SpecError(f"{place}: unknown loss {name!r}; {nearest(str(name), known)}, or your own as module:callable")
    target: Any = resolve(name)
    call = target
    if not inspect.isclass(target):
        check_call(target, {}, place, name)
    if inspect.isclass(target) and issubclass(target, nn.Module):
        try:
            call = target()
        except Exception as error:  # a user's class can raise anything
            raise SpecError(f"{place}: '{name}' called without arguments raised {describe(error)}") from error

    def loss(output: Tensor, target: Tensor) -> Tensor:
        value = call(output, target)
        if not isinstance(value, Tensor) or tuple(value.shape) not in ((), (len(target),)):
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise SpecError(f"{place}: '{name}' must return a scalar, or a number for each image, not {got}")
        return value

    return loss


def shape_fault(output: object, expected: tuple[int, ...], words: str) -> str | None:
    """Return `words` with the expected shape, unless the output has it."""
    fits = isinstance(output, Tensor) and output.is_floating_point() and tuple(output.shape) == expected
    return None if fits else words.format(expected)
