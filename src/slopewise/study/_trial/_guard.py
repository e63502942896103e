"""Divergence guard: ends a trial whose loss is not finite, and names the largest slope."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from slopewise.modules import learned_slopes, whole
from slopewise.study._trial._fabric import OneCpu
from slopewise.study._trial._setup import Setup

if TYPE_CHECKING:
    from slopewise.study._trial._fabric import Device


class Divergence(Exception):  # noqa: N818 - a result, not an error
    """Loss that is not finite.

    Attributes:
        step: Number of the step whose loss it is, or of the last one before an evaluation.
        cause: Description for `TrialRecord.diverged_cause`.
    """

    def __init__(self, step: int, cause: str) -> None:
        super().__init__(cause)
        self.step, self.cause = step, cause


class DivergenceGuard:
    """Checks of losses during training and after evaluations.

    Attributes:
        last_loss: Loss of the latest step that was checked; NaN before the first one.
    """

    def __init__(self, setup: Setup) -> None:
        self._fabric, self._optimizer, self._sites = setup.fabric, setup.optimizer, setup.built.sites
        self.last_loss = math.nan

    def check_steps(self, losses: list[Tensor], first: int) -> None:
        """Raise `Divergence` at the first non-finite loss; it is the same on every rank.

        Args:
            losses: Losses of the steps `first`, `first` + 1, ...; on a CPU, all but the last were checked before.
            first: Number of the first step.
        """
        latest = losses[-1:] if self._fabric.device.type == "cpu" else losses
        values = over_ranks(self._fabric, torch.stack(latest)).tolist()
        for step, value in enumerate(values, start=first + len(losses) - len(latest)):
            if not math.isfinite(value):
                rate = self._optimizer.param_groups[0]["lr"]
                raise Divergence(
                    step,
                    f"the training loss became {value} at step {step} (learning rate {rate:.3g}, loss before it "
                    f"{self.last_loss:.3g}){_largest_slope(self._sites)}",
                )
            self.last_loss = value

    def check_evaluation(self, loss: float, part: str, step: int) -> None:
        """Raise `Divergence` if the validation loss after a step is not finite."""
        loss = self._agreed(loss)
        if not math.isfinite(loss):
            raise Divergence(step, f"the {part} loss is {loss} after step {step}{_largest_slope(self._sites)}")

    def check_final(self, loss: float, part: str, step: int) -> None:
        """Raise `Divergence` if the loss of the final weights on a part of the data is not finite."""
        loss = self._agreed(loss)
        if not math.isfinite(loss):
            raise Divergence(step, f"the final {part} loss is {loss}{_largest_slope(self._sites)}")

    def _agreed(self, loss: float) -> float:
        """Return the mean loss over all ranks, so that none goes on alone; all have computed the same, to rounding."""
        return over_ranks(self._fabric, torch.tensor(loss, dtype=torch.float64, device=self._fabric.device)).item()


def over_ranks(fabric: Device, values: Tensor) -> Tensor:
    """Return the mean of values over all ranks."""
    if isinstance(fabric, OneCpu) or fabric.world_size == 1:
        return values
    return fabric.all_reduce(values, reduce_op="mean")  # type: ignore[return-value]


def _largest_slope(sites: Mapping[str, nn.Module]) -> str:
    """Return the largest slope and its layer as a clause for `diverged_cause`; "" for a model without slopes."""
    slopes = {name: whole(learned_slopes(site)) for name, site in sites.items()}
    sizes = {name: values.abs().max().item() for name, values in slopes.items() if values.numel()}
    if not sizes:
        return ""
    layer = max(sizes, key=lambda name: math.inf if math.isnan(sizes[name]) else sizes[name])
    return f"; the largest slope is {sizes[layer]:.3g} in {layer}"
