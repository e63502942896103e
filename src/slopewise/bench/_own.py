"""Benchmark of a training step of a user's own network: as it is, converted and fused, in two memory formats."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.bench._measurement import Job, Measurement
from slopewise.bench._memory import SAVED, step_bytes
from slopewise.bench._networks import Loss, training_step
from slopewise.convert import convert
from slopewise.errors import ConversionWarning, ModelError
from slopewise.modules import CHANNELS_LAST, channels_last_
from slopewise.timing import interleaved
from slopewise.trace import tensors_in

AS_IS, PUT_IN, PUT_IN_FUSED, PUT_IN_LOW_MEMORY = "as it is", "converted", "converted, fused", "converted, low_memory"
IN_CHANNELS_LAST = ", channels_last"
OWN_STEP = "training step of your network"


def own_jobs(
    model: nn.Module,
    name: str,
    shape: Sequence[int],
    *,
    batch: int = 8,
    channels_last: bool = True,
    loss: Callable[[Any], Tensor] | None = None,
    rounds: int = 15,
    budget: float = 60,
) -> list[Job]:
    """Return jobs that measure the time of a network's training step and the bytes that it keeps for backward.

    All variants take turns, eager, in float32 and with the same weights: the network as it is, with its own
    activations; converted; and fused, or with ``low_memory=True`` if it has no batch normalisation to fuse with. Each
    is measured in the memory format of its weights as they are, and in channels last.

    Args:
        model: Network that takes a batch of images; it is not changed.
        name: Name of the network, for the tables.
        shape: Shape of one image.
        batch: Number of images in a step.
        channels_last: If False, or without weights of four or five dimensions, channels last is left out.
        loss: Function of the network's output that returns one number; by default `mean_square`, which needs no
            targets.
        rounds: Number of timed steps of each variant.
        budget: Time limit in seconds for these rounds, as in `interleaved`.

    Example:
        >>> from slopewise.bench import run_jobs
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Conv2d(4, 2, 3))
        >>> steps, saved = run_jobs(own_jobs(net, "net", (3, 34, 34), rounds=1), lambda line: None)
        >>> list(steps.values)[:3]
        ['as it is', 'converted', 'converted, fused']
        >>> saved.ratio("converted, fused").median < 0.8
        True

    Raises:
        ConversionError: When a job is run: the network does not run on such images, or has nothing to convert.
        ModelError: When a job is run: the loss is not one number.
    """
    images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    case = {"network": name, "batch": f"batch {batch} of {'x'.join(map(str, shape))}"}
    variants, one_number = (
        _Variants(model, images, channels_last=channels_last),
        partial(_one_number, loss or mean_square),
    )
    return [
        (f"{OWN_STEP} {name}", partial(_times, variants, images, case, one_number, rounds, budget)),
        (f"{SAVED} {name}", partial(_saved, variants, images, case, one_number)),
    ]


def mean_square(output: Any) -> Tensor:
    """Return the sum over all tensors in a network's output of the means of their squares.

    Example:
        >>> mean_square({"logits": torch.full((2, 3), 2.0), "features": torch.ones(4)})
        tensor(5.)
    """
    means = [tensor.square().mean() for tensor in tensors_in(output) if tensor.is_floating_point()]
    if not means:
        raise ModelError(f"the network's output, {type(output).__name__}, holds no numbers to compute a loss of")
    return torch.stack(means).sum()


def gain(measurements: Iterable[Measurement]) -> list[str]:
    r"""Return the answer: the variant of the shortest step, and those that keep the fewest bytes.

    Example:
        >>> steps = Measurement(OWN_STEP, {}, {"as it is": (2.0,), "converted, fused": (1.0,)}, "s")
        >>> saved = Measurement(SAVED, {}, {"as it is": (8.0,), "converted, fused": (6.0,)}, "B")
        >>> print(*gain([steps, saved]), sep="\n")
        shortest training step: converted, fused, 0.50 of the network as it is
        fewest bytes kept for backward: converted, fused, 0.75 of the network as it is
    """
    subjects = {OWN_STEP: "shortest training step", SAVED: "fewest bytes kept for backward"}
    lines = []
    for measurement in measurements:
        best = min(measurement.values, key=lambda name: measurement.ratio(name).median)
        share = f"{best}, {measurement.ratio(best).median:.2f} of the network as it is"
        lines.append(f"{subjects[measurement.question]}: {'the network as it is' if best == AS_IS else share}")
    return lines


class _Variants:
    """The variants of a network, made when they are first needed: conversion takes seconds."""

    def __init__(self, model: nn.Module, images: Tensor, *, channels_last: bool) -> None:
        self._model, self._images = model, images
        self._channels_last = channels_last and any(weight.dim() in CHANNELS_LAST for weight in model.parameters())
        self._made: dict[str, nn.Module] = {}

    def __call__(self) -> dict[str, nn.Module]:
        if not self._made:
            example = self._images[:2]
            made = {AS_IS: copy.deepcopy(self._model).train()}
            made[PUT_IN] = convert(made[AS_IS], example).model
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConversionWarning)  # the first conversion has raised them
                fused = convert(made[AS_IS], example, fuse=True)
                if any(site.fused for site in fused.sites):
                    made[PUT_IN_FUSED] = fused.model
                else:
                    made[PUT_IN_LOW_MEMORY] = convert(made[AS_IS], example, low_memory=True).model
            if self._channels_last:
                last = {f"{name}{IN_CHANNELS_LAST}": copy.deepcopy(model) for name, model in made.items()}
                made |= {name: channels_last_(model) for name, model in last.items()}
            self._made = made
        return self._made


def _one_number(loss: Callable[[Any], Tensor], output: Any) -> Tensor:
    value = loss(output)
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ModelError(f"the loss must return one number in a tensor, and returned {shape}")
    return value


def _times(
    variants: _Variants, images: Tensor, case: dict[str, str], loss: Loss, rounds: int, budget: float
) -> list[Measurement]:
    steps = {name: partial(training_step(model, loss), images) for name, model in variants().items()}
    return [Measurement(OWN_STEP, case, interleaved(steps, rounds=rounds, budget=budget), "s")]


def _saved(variants: _Variants, images: Tensor, case: dict[str, str], loss: Loss) -> list[Measurement]:
    saved = {name: (float(step_bytes(model, images, loss=loss)),) for name, model in variants().items()}
    return [Measurement(SAVED, case, saved, "B")]
