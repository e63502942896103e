"""The loop of a trial: training steps, epochs, evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slopewise.records import class_metric
from slopewise.study._stopping import stop_if_requested
from slopewise.study._trial._guard import DivergenceGuard, over_ranks
from slopewise.study._trial._setup import Setup
from slopewise.study._trial._sharding import share_from_first
from slopewise.study.data import Images, Targets
from slopewise.study.tasks import Scorer

_EVALUATION_BATCH = 512
_LOSS_CHECK = 50  # steps between checks of the loss on devices that a check would synchronise

Scores = dict[str, float]  # by metric, the loss among them


@dataclass(frozen=True)
class TrainedEpoch:
    """Figures of one epoch of training.

    Attributes:
        scores: Scores over the epoch's batches, each computed before its step.
        learning_rate: Learning rate of the weights at the last step.
        seconds_per_step: Mean time of a step, without the monitor's.
    """

    scores: Scores
    learning_rate: float
    seconds_per_step: float


class RunningEpoch:
    """An epoch of training that goes on.

    Attributes:
        first: Number of its first step.
        scorer: Scorer of its batches so far.
        losses: Losses of its steps so far.
        learning_rate: Learning rate of the weights at the latest step.
    """

    def __init__(
        self,
        first: int,
        scorer: Scorer,
        seconds_aside: Callable[[], float],
        losses: Sequence[Tensor] = (),
        seconds: float = 0.0,
    ) -> None:
        self.first, self.scorer, self.losses, self.learning_rate = first, scorer, list(losses), math.nan
        self._aside = seconds_aside
        self._zero = time.perf_counter() - seconds_aside() - seconds

    @property
    def seconds(self) -> float:
        """Seconds of training so far, without those spent on other things."""
        return time.perf_counter() - self._aside() - self._zero

    def state_dict(self) -> dict[str, Any]:
        """Return all but the scorer, as plain data."""
        rate, losses = self.learning_rate, torch.stack(self.losses)
        return {"first": self.first, "losses": losses, "learning_rate": rate, "seconds": self.seconds}


class Loop:
    """Training and evaluation of a trial's network.

    Args:
        setup: Parts of the trial.
        guard: Divergence guard of the trial.
        seconds_aside: Function that returns the seconds spent on other things so far; step times exclude them.
        after_step: Function that is called after each step of training.

    Attributes:
        step: Number of optimizer steps taken.
        running: The epoch of training that goes on; None between two epochs.
    """

    def __init__(
        self,
        setup: Setup,
        guard: DivergenceGuard,
        seconds_aside: Callable[[], float] = lambda: 0.0,
        after_step: Callable[[], None] = stop_if_requested,
    ) -> None:
        self._setup, self._guard = setup, guard
        self._seconds_aside, self._after_step = seconds_aside, after_step
        self.step = 0
        self.running: RunningEpoch | None = None
        dense = setup.data.kind in ("masks", "images")  # outputs as large as images take memory as training does
        self._evaluation_batch = setup.batches.size if dense else _EVALUATION_BATCH

    def train_epoch(self) -> TrainedEpoch:
        """Train for one epoch, or for what is left of the running one.

        Raises:
            Divergence: The loss of a step is not finite.
            TrialStopped: The trial was asked to stop.
        """
        setup, device = self._setup, self._setup.fabric.device
        setup.model.train()
        _wait_for(device)
        running = self.running or RunningEpoch(self.step + 1, setup.task.training_scorer(), self._seconds_aside)
        self.running = running
        losses, scorer = running.losses, running.scorer
        for images, targets in setup.batches.epoch(len(losses)):
            running.learning_rate = setup.optimizer.param_groups[0]["lr"]
            scorer.update(*self._take_step(images, targets, losses, running.first))
            self._after_step()
        _wait_for(device)
        seconds = running.seconds
        self.running = None
        self._guard.check_steps(losses, running.first)
        if setup.fabric.world_size > 1:
            scorer.pool()
            # Each rank has normalised its own share: from here on, all evaluate with the same running statistics.
            share_from_first(setup.built.model.buffers())
        scores = {"loss": torch.stack(losses).double().mean(), **scorer.compute()}
        means = over_ranks(setup.fabric, torch.stack(list(scores.values()))).tolist()
        return TrainedEpoch(dict(zip(scores, means, strict=True)), running.learning_rate, seconds / len(losses))

    def steps(self) -> Iterator[None]:
        """Yield after each training step, without end, and record nothing."""
        self._setup.model.train()
        while True:
            for images, targets in self._setup.batches:
                self._take_step(images, targets, [], self.step + 1)
                yield

    def _take_step(self, images: Tensor, targets: Tensor, losses: list[Tensor], first: int) -> tuple[Tensor, Tensor]:
        """Take one step with this rank's share of a batch and append its loss; return the output and its targets."""
        fabric, setup = self._setup.fabric, self._setup
        rank, world = fabric.global_rank, fabric.world_size
        images, targets = images[rank::world].to(fabric.device), targets[rank::world].to(fabric.device)
        output = setup.model(images)
        loss = setup.task.loss(output, targets)
        losses.append(loss.detach())
        if fabric.device.type == "cpu" or len(losses) % _LOSS_CHECK == 0:
            self._guard.check_steps(losses, first)
        for parameter in setup.trained:  # as `Optimizer.zero_grad`, which takes ten times as long
            parameter.grad = None
        fabric.backward(loss)
        setup.optimizer.step()
        setup.scheduler.step()
        self.step += 1
        return output.detach(), targets

    def state_dict(self) -> dict[str, Any] | None:
        """Return the position in the training as plain data; None if the training scorer cannot be saved now."""
        running = self.running
        seen = running.scorer.state_dict() if running else None
        if running and seen is None:
            return None
        return {"step": self.step, "running": running and {**running.state_dict(), "scorer": seen}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the position of another loop of the trial."""
        self.step, saved = state["step"], state["running"]
        if saved:
            scorer = self._setup.task.training_scorer()
            scorer.load_state_dict(on_device(saved["scorer"], self._setup.fabric.device))
            losses = [*saved["losses"].to(self._setup.fabric.device).unbind()]
            self.running = RunningEpoch(saved["first"], scorer, self._seconds_aside, losses, saved["seconds"])
            self.running.learning_rate = saved["learning_rate"]

    @torch.no_grad()
    def outputs(self, images: Images, index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the indices of each batch and the network's output for its images, in evaluation mode.

        Args:
            images: Images of the part.
            index: Indices of the images to show to the network.
        """
        setup, device = self._setup, self._setup.fabric.device
        setup.built.model.eval()
        for chosen in torch.split(index, self._evaluation_batch):
            with setup.fabric.autocast():
                output = setup.built.model(self._cast(images[chosen].to(device))).float()
            yield chosen, output

    @torch.no_grad()
    def evaluate(self, images: Images, targets: Targets, index: Tensor, *, by_class: bool = False) -> Scores:
        """Return the loss and the scores in evaluation mode; every rank scores all images.

        Args:
            images: Images of the part.
            targets: Targets of the images.
            index: Index of those to score.
            by_class: True to return the scores of each class k as well, as `recall[k]`.
        """
        setup, device = self._setup, self._setup.fabric.device
        loss, scorer = 0.0, setup.task.scorer()
        for chosen, output in self.outputs(images, index):
            with setup.fabric.autocast():
                batch_targets = targets[chosen].to(device)
                loss += setup.task.loss(output, batch_targets, reduction="sum").item()
                scorer.update(output, batch_targets)
        scores = {"loss": loss / len(index), **{name: score.item() for name, score in scorer.compute().items()}}
        classes = scorer.by_class() if by_class else {}
        return scores | {
            class_metric(name, k): v for name, values in classes.items() for k, v in enumerate(values.tolist())
        }

    def loss_of(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch on the device, with its graph."""
        with self._setup.fabric.autocast():
            return self._setup.task.loss(self._setup.built.model(self._cast(images)).float(), targets)

    def _cast(self, images: Tensor) -> Tensor:
        """Return images in the parameters' dtype, for `bf16-true` and `64-true`; autocast does the mixed precisions."""
        return images.to(next(self._setup.built.model.parameters()).dtype)


def on_device(state: Any, device: torch.device) -> Any:
    """Return plain data with all tensors on a device."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {key: on_device(value, device) for key, value in state.items()}
    return [on_device(value, device) for value in state] if isinstance(state, (list, tuple)) else state


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
