"""Regression: numbers for each image, standardised for the loss, scored in their own units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.errors import SpecError
from slopewise.records import MetricRecord
from slopewise.study.tasks._base import Reduction, Scorer
from slopewise.study.tasks._kind import Kind, shape_fault
from slopewise.study.tasks._losses import l1, mse, per_image
from slopewise.study.tasks._offer import Offer
from slopewise.study.tasks._scores import Metered, Score, new_metric

if TYPE_CHECKING:
    from slopewise.study.data import ImageData


def _huber(output: Tensor, target: Tensor) -> Tensor:
    return per_image(F.huber_loss(output, target, reduction="none"))


class Regression(Kind):
    """D numbers for each image, scored by R².

    The network's outputs (N, D) are standardised values: the loss compares them with (target - mean) / standard
    deviation, over the training images, of each value; scores compare mean + deviation * output with the targets. So
    the learning rate does not depend on the unit. No metric has a default margin. A network that knows nothing returns
    the means, whose R² is 0.

    Args:
        loss: "mse", "huber" (squared up to one standard deviation, then linear), "l1", or your own, see `Kind`.
        metrics: Names out of r2, mae and rmse, and tables of your own, the primary one first.
    """

    targets = "values"
    losses = {"mse": mse, "huber": _huber, "l1": l1}  # noqa: RUF012
    usual = ("r2", "mae", "rmse")

    def offers(self) -> Mapping[str, Offer]:
        """Return R², and the absolute and root mean squared error."""
        return _OFFERS

    def bind(self, data: ImageData) -> Self:
        """Return the task with the mean and the standard deviation of each value over the training images.

        Raises:
            SpecError: A value is the same in all training images, or the test part has a single image.
        """
        bound, values = super().bind(data), data.train_targets[torch.arange(len(data.train_targets))].double()
        bound._mean, bound._deviation = values.mean(dim=0), values.std(dim=0, correction=0)
        if (bound._deviation == 0).any():
            name = data.classes[int((bound._deviation == 0).nonzero()[0])]
            raise SpecError(f"task: value '{name}' is the same in all training images: leave it out")
        if len(data.test_targets) < 2:
            raise SpecError("task: R² needs at least 2 test images")
        return bound

    def constant(self, data: ImageData) -> Tensor:
        """Return zeros (1, D), which stand for the means of the training images."""
        return torch.zeros(1, self.outputs(data), dtype=torch.float64)

    def chance(self, primary: str, data: ImageData) -> float | None:
        """Return 0 for R², and for other metrics the score of the means of the training images."""
        return 0.0 if primary == "r2" else super().chance(primary, data)

    def outputs(self, data: ImageData) -> int:
        """Return the number of values."""
        return data.train_targets.shape[1]

    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:  # noqa: ARG002
        """Return the shape of the values (images, values), unless the output has it."""
        return shape_fault(output, tuple(target.shape), "standardised values {} (images, values)")

    def loss(self, output: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the loss of standardised values."""
        mean, deviation = self._moments(output)
        return super().loss(output, ((target - mean) / deviation).to(output.dtype), reduction)

    def scorer(self) -> Scorer:
        """Return a scorer of the values in their own units."""
        return _InUnits(super().scorer(), self)

    def training_scorer(self) -> Scorer:
        """Return a scorer of the primary metric in the values' own units."""
        return _InUnits(super().training_scorer(), self)

    def _moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        return self._mean.to(output.device), self._deviation.to(output.device)

    _mean: Tensor
    _deviation: Tensor


class _InUnits(Scorer):
    """Scorer of standardised outputs in the values' own units."""

    def __init__(self, scorer: Scorer, task: Regression) -> None:
        self._scorer, self._task = scorer, task

    def update(self, output: Tensor, target: Tensor) -> None:
        mean, deviation = self._task._moments(output)
        self._scorer.update(mean + deviation * output, target.double())

    def compute(self) -> dict[str, Tensor]:
        return self._scorer.compute()

    def pool(self) -> None:
        self._scorer.pool()

    def state_dict(self) -> dict[str, Any] | None:
        return self._scorer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._scorer.load_state_dict(state)


def _as_they_are(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    return output, target


def _r2(values: int) -> Score:  # noqa: ARG001 - as other scores
    metric = new_metric("regression", "R2Score", adjusted=0, multioutput="raw_values")
    metric.set_dtype(torch.float64)
    return Metered(metric, _as_they_are, lambda scores: scores.mean())


def _mae(values: int) -> Score:  # noqa: ARG001
    metric = new_metric("regression", "MeanAbsoluteError")
    metric.set_dtype(torch.float64)
    return Metered(metric, _as_they_are)


def _rmse(values: int) -> Score:  # noqa: ARG001
    metric = new_metric("regression", "MeanSquaredError", squared=False)
    metric.set_dtype(torch.float64)
    return Metered(metric, _as_they_are)


_OVER = "over the values of all images of the part, in the unit of the targets"
_OFFERS = {
    "r2": Offer(
        MetricRecord(
            "r2",
            "R²",
            "",
            "higher",
            definition="1 - squared error / squared deviation from the mean of the part's targets, each summed over "
            "the images of the part, then the mean over the values of an image",
        ),
        _r2,
    ),
    "mae": Offer(MetricRecord("mae", "absolute error", "", "lower", definition=f"mean |error| {_OVER}"), _mae),
    "rmse": Offer(
        MetricRecord("rmse", "RMSE", "", "lower", definition=f"square root of the mean squared error {_OVER}"), _rmse
    ),
}
