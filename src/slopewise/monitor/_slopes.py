"""Slopes of all layers in one sampled step: one table for the host, and what it shows of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from slopewise.recording import SlopeSample, Thresholds
from slopewise.slopes import SlopeSummary, summarise

_DECAY = 0.9  # of the averages behind signal-to-noise: about the latest ten samples count
_FEWEST = 3  # samples that give a standard deviation


@dataclass(frozen=True, eq=False)
class SlopeStates:
    """One layer slope by slope in the latest sample: tensors with one value for each slope, on the CPU.

    Attributes:
        layer: Name of the layer.
        value: Slope a after the step.
        gradient: Gradient dL/da that the optimizer used; None without one.
        signal_to_noise: Ratio |mean| / standard deviation of dL/da over the latest samples; None before the third.
        update: Change Δa in the step; None where no optimizer stepped the slopes.
        from_start: Difference from the value when the monitor was made.
        summary: Summary of the values.
    """

    layer: str
    value: Tensor
    gradient: Tensor | None
    signal_to_noise: Tensor | None
    update: Tensor | None
    from_start: Tensor
    summary: SlopeSummary


class Noise:
    """Exponential averages of the gradient of one layer's slopes and of its square, on the CPU."""

    def __init__(self, slopes: int) -> None:
        self.samples = 0
        self.mean = torch.zeros(slopes, dtype=torch.float64)
        self.square = torch.zeros(slopes, dtype=torch.float64)

    @property
    def share(self) -> float:
        """Share of the latest sample in the averages; the first average is the first sample."""
        return (1 - _DECAY) / (1 - _DECAY**self.samples)


@dataclass(frozen=True)
class SlopeRow:
    """One layer in the table.

    Attributes:
        layer: Name of the layer.
        dtype: Type of its slopes in the model.
        has_gradient: True if there is a gradient.
        has_moved: True if there are values before the step.
        start: Values when the monitor was made.
        noise: Averages of the gradient.
    """

    layer: str
    dtype: torch.dtype
    has_gradient: bool
    has_moved: bool
    start: Tensor
    noise: Noise


@dataclass(frozen=True)
class SlopeTable:
    """Layout of the slopes of all layers in a packet: values, gradients, and values before the step.

    What a layer lacks is packed as its values. All layers are decoded together: there are few slopes in each.
    """

    rows: Sequence[SlopeRow]
    thresholds: Thresholds

    def decode(self, flat: Tensor) -> list[tuple[SlopeStates, SlopeSample]]:
        """Return states and sample of each layer; the averages behind signal-to-noise take the gradients in.

        The sample's `against_weights` is None.
        """
        if not self.rows:
            return []
        sizes = [len(row.start) for row in self.rows]
        values, gradients, before = flat.reshape(3, -1)
        updates, from_start = values - before, values - torch.cat([row.start for row in self.rows])
        noise = self._add_noise(gradients, sizes)
        states = []
        for row, value, gradient, ratios, update, difference in zip(
            self.rows,
            values.split(sizes),
            gradients.split(sizes),
            noise,
            updates.split(sizes),
            from_start.split(sizes),
            strict=True,
        ):
            near_0, near_1 = self.thresholds.near_0, self.thresholds.near_1
            summary = summarise(value.to(row.dtype), near_0=near_0, near_1=near_1)
            states.append(
                SlopeStates(
                    layer=row.layer,
                    value=value,
                    gradient=gradient if row.has_gradient else None,
                    signal_to_noise=ratios,
                    update=update if row.has_moved else None,
                    from_start=difference,
                    summary=summary,
                )
            )
        return list(zip(states, _samples(states, before.split(sizes)), strict=True))

    def _add_noise(self, gradients: Tensor, sizes: Sequence[int]) -> list[Tensor | None]:
        """Take in the finite gradients; return |mean| / standard deviation of each layer's, or None of too few."""
        finite = torch.stack([part.all() for part in gradients.isfinite().split(sizes)]).tolist()
        takes = [row.has_gradient and fine for row, fine in zip(self.rows, finite, strict=True)]
        averages = [row.noise for row in self.rows]
        for noise, more in zip(averages, takes, strict=True):
            noise.samples += more
        # A layer with a share of 0 keeps its averages.
        shares = [[noise.share if more else 0.0] * len(noise.mean) for noise, more in zip(averages, takes, strict=True)]
        share = torch.tensor([*chain(*shares)], dtype=torch.float64)
        mean, square = (torch.cat([getattr(noise, name) for noise in averages]) for name in ("mean", "square"))
        gradients = gradients.where(share > 0, mean)
        mean = mean + share * (gradients - mean)
        square = square + share * (gradients.square() - square)
        ratios = mean.abs() / (square - mean.square()).clamp_min(0).sqrt()
        for noise, *own in zip(averages, mean.split(sizes), square.split(sizes), strict=True):
            noise.mean, noise.square = own
        return [
            ratio if more and noise.samples >= _FEWEST else None
            for noise, more, ratio in zip(averages, takes, ratios.split(sizes), strict=True)
        ]


def _samples(layers: Sequence[SlopeStates], before: Sequence[Tensor]) -> list[SlopeSample]:
    """Return the samples of layers, given their slopes before the step, without `against_weights`."""
    nothing = torch.zeros(1, dtype=torch.float64)
    updates = [nothing if layer.update is None else layer.update for layer in layers]
    gradients = [nothing if layer.gradient is None else layer.gradient for layer in layers]
    # Private, but what clip_grad_norm_ is made of: one call where a loop would make one for each layer.
    norms = torch._foreach_norm([*gradients, *updates, *before])
    largest = [rows.abs().max() for rows in (*updates, *(layer.from_start for layer in layers))]
    ratios = [nothing if layer.signal_to_noise is None else layer.signal_to_noise for layer in layers]
    figures = torch.stack([*norms, *largest, *(ratio.nanmedian() for ratio in ratios)]).reshape(6, -1).T.tolist()
    samples = []
    for layer, old, (gradient, moved, size, update, from_start, ratio) in zip(layers, before, figures, strict=True):
        furthest, finite = _furthest(old.tolist())
        samples.append(
            SlopeSample(
                layer=layer.layer,
                summary=layer.summary,
                gradient=None if layer.gradient is None else gradient,
                signal_to_noise=ratio if layer.signal_to_noise is not None and math.isfinite(ratio) else None,
                update=None if layer.update is None else update,
                update_ratio=moved / size if layer.update is not None and size else None,
                against_weights=None,
                from_start=from_start,
                furthest_before=furthest,
                not_finite_before=len(old) - finite,
            )
        )
    return samples


def _furthest(values: list[float]) -> tuple[float | None, int]:
    """Return the finite number that is furthest from 0, None if there is none, and how many are finite."""
    if not math.isfinite(sum(values)):  # for so few, Python is quicker than tensors
        values = [value for value in values if math.isfinite(value)]
    return (max(min(values), max(values), key=abs) if values else None), len(values)
