"""What a training step costs: forward pass, loss, backward pass, SGD with momentum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.bench._functions import LAYOUTS
from slopewise.bench._measurement import Job, Measurement
from slopewise.bench._models import COMPILED, CONVOLUTIONS, FUSED, NETWORKS, PRELU, RELU, VARIANTS, build
from slopewise.timing import interleaved

COMPILED_VARIANTS = (RELU, PRELU, FUSED, CONVOLUTIONS)
BATCH, WIDTH = 128, 16


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
    """Steps on a batch of 3 x 32 x 32 images in float32, all variants taking turns.

    Args:
        networks: "resnet20", "cnn".
        layouts: of images and weights: "contiguous", "channels_last".
        variants: the networks to step through eagerly, ReLU first.
        compiled: those to step through as torch.compile makes them; each compiles for up to a minute.
        batch: images in a step.
        width: channels of the first stage.
        rounds: steps of each that count.
        budget: seconds for the rounds of one case, as in `interleaved`.
    """
    return [
        (
            f"training step {network} {layout}",
            partial(_measure, network, layout, variants, compiled, batch, width, rounds, budget),
        )
        for network, layout in product(networks, layouts)
    ]


def training_step(
    model: nn.Module, logits: Callable[[Any], Tensor] = lambda output: output
) -> Callable[[Tensor, Tensor], None]:
    """One step of training on images and labels, to be called again and again.

    `logits` takes these from what the model returns; by default it returns nothing else.
    The learning rate is so small that a thousand steps change nothing that is timed: no variant wanders off into
    infinities or denormal numbers, which cost other times.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits(model(images)), labels).backward()
        optimizer.step()

    return step


def batch_of(count: int, layout: str) -> tuple[Tensor, Tensor]:
    """Random images and labels, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 32, 32, generator=generator).contiguous(memory_format=LAYOUTS[layout])
    return images, torch.randint(0, 10, (count,), generator=generator)


def seeded(network: str, variant: str, layout: str, width: int) -> nn.Module:
    """A network with the same weights whatever the variant, in training mode, with its weights in the layout."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(network, variant, width=width)
    return model.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload, no-any-return]


def network_case(network: str, layout: str, batch: int, width: int) -> dict[str, str]:
    """A case in words; a width other than the usual one makes it another network."""
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
    seconds = interleaved(steps, rounds=rounds, budget=budget)
    return [Measurement("training step", network_case(network, layout, batch, width), seconds, "s")]
