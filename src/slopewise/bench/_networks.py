"""Benchmark of a training step: forward pass, loss, backward pass, SGD with momentum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.bench._functions import LAYOUTS
from slopewise.bench._measurement import Job, Measurement
from slopewise.bench._models import COMPILED, CONVOLUTIONS, FUSED, NETWORKS, PRELU, RELU, VARIANTS, build
from slopewise.bench._steps import step_measurements

COMPILED_VARIANTS = (RELU, PRELU, FUSED, CONVOLUTIONS)
BATCH, WIDTH = 128, 16

Loss = Callable[..., Tensor]
"""Loss of a model's output and of the targets, if there are any."""


def network_jobs(
    *,
    networks: Iterable[str] = tuple(NETWORKS),
    layouts: Iterable[str] = tuple(LAYOUTS),
    variants: Sequence[str] = VARIANTS,
    compiled: Sequence[str] = COMPILED_VARIANTS,
    batch: int = BATCH,
    width: int = WIDTH,
    rounds: int = 20,
    budget: float = math.inf,
) -> list[Job]:
    """Return jobs that measure steps on a batch of 3 x 32 x 32 images in float32, all variants taking turns.

    Args:
        networks: Networks to time: "resnet20", "cnn".
        layouts: Layouts of images and weights: "contiguous", "channels_last".
        variants: Variants to run eagerly, ReLU first.
        compiled: Variants to run under torch.compile as well; each compiles for up to a minute.
        batch: Number of images in a step.
        width: Number of channels of the first stage.
        rounds: Number of timed steps of each variant.
        budget: Time limit in seconds for the rounds of one case, as in `interleaved`.
    """
    return [
        (
            f"training step {network} {layout}",
            partial(_measure, network, layout, variants, compiled, batch, width, rounds, budget),
        )
        for network, layout in product(networks, layouts)
    ]


def training_step(model: nn.Module, loss: Loss = F.cross_entropy) -> Callable[..., None]:
    """Return a function that takes one training step on images and targets, for repeated calls.

    `loss` gets the model's output and the targets.
    The learning rate is so small that a thousand steps do not affect the timing: no variant drifts to infinities or
    denormal numbers, whose arithmetic takes a different time.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def step(images: Tensor, *targets: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model(images), *targets).backward()
        optimizer.step()

    return step


def batch_of(count: int, layout: str) -> tuple[Tensor, Tensor]:
    """Return random images and labels, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 32, 32, generator=generator).contiguous(memory_format=LAYOUTS[layout])
    return images, torch.randint(0, 10, (count,), generator=generator)


def seeded(network: str, variant: str, layout: str, width: int) -> nn.Module:
    """Build a network in training mode, with the same weights for every variant and its weights in the layout."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(network, variant, width=width)
    return model.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload, no-any-return]


def network_case(network: str, layout: str, batch: int, width: int) -> dict[str, str]:
    """Return a case in words; a width other than the default is part of the network's name."""
    name = network if width == WIDTH else f"{network} of width {width}"
    return {"network": name, "layout": layout, "batch": f"batch {batch}"}


def _measure(
    network: str,
    layout: str,
    variants: Sequence[str],
    compiled: Sequence[str],
    batch: int,
    width: int,
    rounds: int,
    budget: float,
) -> list[Measurement]:
    images, labels = batch_of(batch, layout)
    if compiled:
        torch.compiler.reset()
    models = {name: seeded(network, name, layout, width) for name in variants}
    for name in compiled:
        models[f"{name}{COMPILED}"] = torch.compile(seeded(network, name, layout, width), dynamic=False)  # type: ignore[assignment]
    steps = {name: partial(training_step(model), images, labels) for name, model in models.items()}
    return step_measurements(steps, network_case(network, layout, batch, width), rounds=rounds, budget=budget)
