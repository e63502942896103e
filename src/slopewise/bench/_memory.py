"""Benchmark of a training step's memory: bytes saved for backward, and the rise in the process's resident memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.bench._functions import LAYOUTS
from slopewise.bench._measurement import Job, Measurement
from slopewise.bench._models import FUSED, FUSED_LOW_MEMORY, NETWORKS, PRELU, RELU
from slopewise.bench._networks import BATCH, WIDTH, Loss, batch_of, network_case, seeded

MEMORY_VARIANTS = (RELU, PRELU, FUSED, FUSED_LOW_MEMORY)
SAVED, PEAK = "bytes saved for backward", "peak resident memory"


def memory_jobs(
    *,
    networks: Iterable[str] = tuple(NETWORKS),
    layouts: Iterable[str] = tuple(LAYOUTS),
    variants: Sequence[str] = MEMORY_VARIANTS,
    batch: int = BATCH,
    width: int = WIDTH,
    rounds: int = 3,
) -> list[Job]:
    """Return jobs that measure both figures for the training step of `network_jobs`.

    Args:
        networks: Networks to measure: "resnet20", "cnn".
        layouts: Layouts of images and weights: "contiguous", "channels_last".
        variants: Variants of the network to compare, ReLU first.
        batch: Number of images in a step.
        width: Number of channels of the first stage.
        rounds: Number of fresh processes per variant for the peak; 0 leaves it out. The bytes saved are the same in
            every step.
    """
    jobs: list[Job] = []
    for network, layout in product(networks, layouts):
        settings = (network, layout, batch, width)
        jobs.append((f"{SAVED} {network} {layout}", partial(_saved, variants, *settings)))
        if rounds and sys.platform == "linux":
            jobs.append((f"{PEAK} {network} {layout}", partial(_peaks, variants, rounds, *settings)))
    return jobs


def saved_bytes(function: Callable[[], Tensor], parameters: Iterable[Tensor] = ()) -> int:
    """Count the bytes that a forward pass keeps for its backward pass.

    Every storage counts once and as a whole, however many saved tensors are views of it, since a single view keeps all
    of it alive. The input counts if it is saved.

    Args:
        function: Forward pass, whose result holds the graph.
        parameters: Tensors whose storages do not count.

    Example:
        >>> x = torch.zeros(100, requires_grad=True)
        >>> saved_bytes(lambda: x * x), saved_bytes(lambda: x * x, [x])  # x is saved twice
        (400, 0)
    """
    excluded = {tensor.untyped_storage().data_ptr() for tensor in parameters}
    storages: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(storage.nbytes() for address, storage in storages.items() if address not in excluded)


def step_bytes(model: nn.Module, images: Tensor, *targets: Tensor, loss: Loss = F.cross_entropy) -> int:
    """Count the bytes that one training step keeps for backward, without parameters and buffers."""
    own = chain(model.parameters(), model.buffers())
    return saved_bytes(lambda: loss(model(images), *targets), own)


def peak_bytes(network: str, variant: str, layout: str, *, batch: int, width: int) -> int:
    """Measure the rise in a process's resident memory during one training step: see `slopewise.bench._peak`."""
    settings = {"network": network, "variant": variant, "layout": layout, "batch": batch, "width": width}
    settings["threads"] = torch.get_num_threads()
    command = [sys.executable, "-m", "slopewise.bench._peak", json.dumps(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own module)
    if ended.returncode:
        raise RuntimeError(f"measuring {variant} ended with status {ended.returncode}:\n{ended.stderr.strip()}")
    return int(ended.stdout)


def _saved(variants: Sequence[str], network: str, layout: str, batch: int, width: int) -> list[Measurement]:
    images, labels = batch_of(batch, layout)
    saved = {name: (float(step_bytes(seeded(network, name, layout, width), images, labels)),) for name in variants}
    return [Measurement(SAVED, network_case(network, layout, batch, width), saved, "B")]


def _peaks(
    variants: Sequence[str], rounds: int, network: str, layout: str, batch: int, width: int
) -> list[Measurement]:
    peaks: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name in variants:
            peaks[name].append(float(peak_bytes(network, name, layout, batch=batch, width=width)))
    values = {name: tuple(figures) for name, figures in peaks.items()}
    return [Measurement(PEAK, network_case(network, layout, batch, width), values, "B")]
