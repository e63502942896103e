"""Benchmark of a training step in networks of other libraries, before and after `convert`."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.bench._functions import LAYOUTS
from slopewise.bench._measurement import Job, Measurement
from slopewise.bench._models import FUSED, FUSED_LOW_MEMORY, PRELU, RELU, UNFUSED
from slopewise.bench._networks import training_step
from slopewise.bench._steps import step_measurements
from slopewise.convert import convert
from slopewise.modules import CHANNELS_LAST

WIDTH = 64
CONVERSIONS: dict[str, dict[str, Any]] = {
    PRELU: {"to": nn.PReLU},
    UNFUSED: {},
    FUSED: {"fuse": True, "low_memory": False},
    FUSED_LOW_MEMORY: {"fuse": True},
}


@dataclass(frozen=True, slots=True)
class LibraryNetwork:
    """A library's classifier for 10 classes, with random weights.

    Attributes:
        library: Package to import and to install.
        build: Function that builds the network, given the number of channels of its first stage.
        image: Shape of one image.
        batch: Number of images in a step, chosen so that a step takes less than a second on two cores.
        logits: Function that takes the logits from the network's output.
    """

    library: str
    build: Callable[[int], nn.Module]
    image: tuple[int, ...]
    batch: int
    logits: Callable[[Any], Tensor]

    def loss(self, output: Any, labels: Tensor) -> Tensor:
        """Return the cross-entropy of the network's output."""
        return F.cross_entropy(self.logits(output), labels)

    @property
    def installed(self) -> bool:
        """True if the library is installed; it is not imported."""
        return importlib.util.find_spec(self.library) is not None


def converted_jobs(
    *,
    networks: Iterable[str] | None = None,
    layouts: Iterable[str] = tuple(LAYOUTS),
    batch: int | None = None,
    width: int = WIDTH,
    rounds: int = 20,
    budget: float = math.inf,
) -> list[Job]:
    """Return jobs that measure steps of the libraries' networks and of their conversions, in turns, eager, in float32.

    Args:
        networks: Keys of `CONVERTED`; by default those whose library is installed.
        layouts: Layouts of images and weights: "contiguous", "channels_last" (for volumes, channels_last_3d).
        batch: Number of images in a step; by default the network's own.
        width: Number of channels of the first stage; 64 make a ResNet-18.
        rounds: Number of timed steps of each network.
        budget: Time limit in seconds for the rounds of one case, as in `interleaved`.

    Example:
        >>> [words for words, _ in converted_jobs(networks=["monai-resnet18"], layouts=["contiguous"])]
        ['training step monai-resnet18 contiguous']
    """
    if networks is None:
        networks = [name for name, network in CONVERTED.items() if network.installed]
    return [
        (f"training step {name} {layout}", partial(_measure, name, layout, batch, width, rounds, budget))
        for name, layout in product(networks, layouts)
    ]


def variants(
    network: LibraryNetwork, images: Tensor, memory_format: torch.memory_format, width: int
) -> dict[str, nn.Module]:
    """Return the library's network, then its conversions: the same weights, in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = network.build(width).to(memory_format=memory_format).train()  # type: ignore[call-overload]
    example = images[:2]
    return {RELU: original, **{name: convert(original, example, **how).model for name, how in CONVERSIONS.items()}}


def images_and_labels(network: LibraryNetwork, layout: str, batch: int) -> tuple[Tensor, Tensor, torch.memory_format]:
    """Return random images in the layout and their labels, the same in every run, and the memory format for weights."""
    generator = torch.Generator().manual_seed(0)
    contiguous = LAYOUTS[layout] is torch.contiguous_format
    memory_format = torch.contiguous_format if contiguous else CHANNELS_LAST[len(network.image) + 1]
    images = torch.randn(batch, *network.image, generator=generator).contiguous(memory_format=memory_format)
    return images, torch.randint(0, 10, (batch,), generator=generator), memory_format


def transformers_resnet18(width: int) -> nn.Module:
    """Build the ResNet-18 of He et al. (2016), with basic blocks; its ReLUs are not in place."""
    with _without_torchvision_of_another_torch():
        from transformers import ResNetConfig, ResNetForImageClassification

        config = ResNetConfig(
            embedding_size=width, hidden_sizes=_stages(width), depths=[2, 2, 2, 2], layer_type="basic"
        )
        config.num_labels = 10
        return ResNetForImageClassification(config)


def monai_resnet18(width: int) -> nn.Module:
    """Build a ResNet-18 in three dimensions, for volumes of one channel; its ReLUs are in place."""
    from monai.networks.nets.resnet import ResNet

    return ResNet("basic", [2, 2, 2, 2], _stages(width), spatial_dims=3, n_input_channels=1, num_classes=10)


CONVERTED = {
    "transformers-resnet18": LibraryNetwork(
        "transformers", transformers_resnet18, (3, 64, 64), 32, attrgetter("logits")
    ),
    "monai-resnet18": LibraryNetwork("monai", monai_resnet18, (1, 32, 32, 32), 4, lambda logits: logits),
}


def _stages(width: int) -> list[int]:
    return [width, 2 * width, 4 * width, 8 * width]


@contextmanager
def _without_torchvision_of_another_torch() -> Iterator[None]:
    """Hide torchvision from transformers if it cannot be imported; the ResNet does not need it.

    transformers imports torchvision if it is installed, and one that was built for another PyTorch then raises
    "operator torchvision::nms does not exist".
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            del sys.modules["torchvision"]
    else:
        yield


def _measure(name: str, layout: str, batch: int | None, width: int, rounds: int, budget: float) -> list[Measurement]:
    network = CONVERTED[name]
    images, labels, memory_format = images_and_labels(network, layout, batch or network.batch)
    models = variants(network, images, memory_format, width)
    steps = {name: partial(training_step(model, network.loss), images, labels) for name, model in models.items()}
    case = {
        "network": name if width == WIDTH else f"{name} of width {width}",
        "layout": layout,
        "batch": f"batch {len(images)} of {'x'.join(map(str, network.image))}",
    }
    return step_measurements(steps, case, rounds=rounds, budget=budget)
