"""Scores of torchmetrics behind `Scorer`: prepared inputs in, one float64 number out, and NaN for a broken output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from slopewise.study.tasks._base import Scorer
from slopewise.study.tasks._torchmetrics import torchmetrics

Prepare = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


class Score(ABC):
    """One metric that is accumulated batch by batch."""

    @abstractmethod
    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch of finite outputs."""

    @abstractmethod
    def compute(self) -> Tensor:
        """Return the score of all batches so far, or of each class."""

    def pool(self) -> None:  # noqa: B027 - most scores are means
        """Gather what all ranks hold; a mean over equally many images of each rank need not."""

    def state_dict(self) -> dict[str, Any] | None:
        """Return all that has been seen, as `Scorer.state_dict`; by default None."""
        return None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of another score, as `Scorer.load_state_dict`."""
        raise NotImplementedError(f"{type(self).__name__} has a state_dict, but no load_state_dict")


class Metered(Score):
    """A metric of torchmetrics.

    Args:
        metric: The metric, from `new_metric`, with every setting that its defaults would decide.
        prepare: Function from (output, target) to the arguments of the metric's `update`.
        read: Function that turns what the metric computes into the score.
        at_once: Number of pixels that the metric gets at once, at least those of one image; None is a whole batch.
            Few keep the temporary tensors of an expensive metric small; for large ones the system hands out and clears
            new memory each time.
    """

    def __init__(
        self,
        metric: Any,
        prepare: Prepare,
        read: Callable[[Tensor], Tensor] = lambda score: score,
        *,
        at_once: int | None = None,
    ) -> None:
        self._metric, self._prepare, self._read = metric, prepare, read
        self._at_once = at_once

    def update(self, output: Tensor, target: Tensor) -> None:
        if self._metric.device != output.device:
            self._metric.to(output.device)
        count = max(self._at_once // output[0].numel(), 1) if self._at_once else max(len(output), 1)
        for outputs, targets in zip(output.split(count), target.split(count), strict=True):
            self._metric.update(*self._prepare(outputs, targets))

    def compute(self) -> Tensor:
        return self._read(self._metric.compute())

    def pool(self) -> None:
        self._metric.sync()

    def state_dict(self) -> dict[str, Any]:
        return {"seen": dict(self._metric.metric_state), "updates": self._metric.update_count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state["seen"].items():
            tensors = [value] if isinstance(value, Tensor) else value
            if tensors:
                self._metric.to(tensors[0].device)
            setattr(self._metric, name, value)
        # Private: torchmetrics itself does not save it. Without it, `compute` warns that nothing has been seen.
        self._metric._update_count = state["updates"]

    def every(self, state: str) -> Tensor:
        """Return a state that holds all inputs, (N, ...)."""
        values = getattr(self._metric, state)  # a list of batches, and a tensor once ranks are pooled
        return values if isinstance(values, Tensor) else torch.cat(values)


def new_metric(part: str, name: str, *args: Any, **settings: Any) -> Any:
    """Return a new metric of a part of torchmetrics.

    It pools ranks in `Score.pool` alone, since in evaluation all of them score the same images.
    """
    return getattr(torchmetrics(part), name)(*args, **settings, sync_on_compute=False)


def image_mean(per_image: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """Return the mean over all images of a function (output, target) -> (N,)."""
    metric = new_metric("aggregation", "MeanMetric", nan_strategy="disable")  # by default it would drop NaN
    metric.set_dtype(torch.float64)
    return Metered(metric, lambda output, target: (per_image(output, target).double(),))


class Scores(Scorer):
    """Several metrics at once.

    A score is NaN if any output held NaN or infinity, of which some metrics would make a number: the largest of NaN
    logits is class 0.

    Args:
        scores: New scores by the name of their metric.
        classes: New scores of each class by name.
    """

    def __init__(self, scores: Mapping[str, Score], classes: Mapping[str, Score] | None = None) -> None:
        self._scores, self._classes = dict(scores), dict(classes or {})
        self._finite: Tensor | None = None  # stays on the device until `compute`, so that training does not wait for it

    def update(self, output: Tensor, target: Tensor) -> None:
        # On a CPU, to look at a number waits for nothing, and a sum shows in one pass that all are finite.
        if output.device.type != "cpu" or not math.isfinite(output.sum()):
            finite = output.isfinite().all()
            self._finite = finite if self._finite is None else self._finite & finite
            output = output.nan_to_num(0.0, 0.0, 0.0)
        elif self._finite is None:
            self._finite = torch.ones((), dtype=torch.bool)
        for score in self._all():
            score.update(output, target)

    def compute(self) -> dict[str, Tensor]:
        return self._unless_broken(self._scores)

    def by_class(self) -> dict[str, Tensor]:
        return self._unless_broken(self._classes)

    def pool(self) -> None:
        if self._finite is not None:
            everywhere = self._finite.to(torch.int32)
            torch.distributed.all_reduce(everywhere, torch.distributed.ReduceOp.MIN)
            self._finite = everywhere.bool()
        for score in self._all():
            score.pool()

    def state_dict(self) -> dict[str, Any] | None:
        states = [score.state_dict() for score in self._all()]
        return None if None in states else {"finite": self._finite, "scores": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._finite = state["finite"]
        for score, own in zip(self._all(), state["scores"], strict=True):
            score.load_state_dict(own)

    def _unless_broken(self, scores: Mapping[str, Score]) -> dict[str, Tensor]:
        if self._finite is None:
            return {name: torch.tensor(torch.nan, dtype=torch.float64) for name in scores}
        return {name: torch.where(self._finite, score.compute().double(), torch.nan) for name, score in scores.items()}

    def _all(self) -> tuple[Score, ...]:
        return (*self._scores.values(), *self._classes.values())
