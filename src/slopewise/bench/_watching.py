"""Benchmark of monitoring: the same training steps without it, with `Monitor`, and with hand-written hooks.

The hand-written hooks are of two kinds. "statistics hooks" record mean, standard deviation and the fraction of outputs
near 0 of every layer, each converted to a number at once, as fastai's ActivationStats does. "naive hooks" collect what
the monitor does (signs and gradients per unit, norms, updates) as a first attempt would: layer by layer, with an
`.item()` for each number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from functools import partial
from itertools import product
from typing import Any

from torch import Tensor, nn

from slopewise.bench._functions import LAYOUTS
from slopewise.bench._measurement import Job, Measurement
from slopewise.bench._models import FUSED, RELU, UNFUSED
from slopewise.bench._networks import BATCH, WIDTH, batch_of, network_case, seeded, training_step
from slopewise.monitor import Monitor
from slopewise.timing import interleaved

NOTHING, EVERY, RARELY, BETWEEN = "no monitor", "every=1", "every=50", "between samples"
STATISTICS, NAIVE = "statistics hooks", "naive hooks"
STEP, MANY = "watched training step", "fifty watched training steps"
WATCHED = (RELU, UNFUSED, FUSED)
_MANY = 50
_BUILDS = 3

Step = Callable[[], object]


def watching_jobs(
    *,
    variants: Iterable[str] = WATCHED,
    layouts: Iterable[str] = tuple(LAYOUTS),
    batch: int = BATCH,
    width: int = WIDTH,
    rounds: int = 20,
) -> list[Job]:
    """Return jobs that time steps of ResNet-20 on 3 x 32 x 32 images in float32, all ways of monitoring taking turns.

    Args:
        variants: Variants of the network, see `slopewise.bench.build`.
        layouts: Layouts of images and weights: "contiguous", "channels_last".
        batch: Number of images in a step.
        width: Number of channels of the first stage.
        rounds: Number of timed steps of each way; runs of fifty steps are timed a third as often, at least 3 times.
    """
    return [
        (f"watched training step, {variant} {layout}", partial(_measure, variant, layout, batch, width, rounds))
        for variant, layout in product(variants, layouts)
    ]


def _measure(variant: str, layout: str, batch: int, width: int, rounds: int) -> list[Measurement]:
    images, labels = batch_of(batch, layout)
    build = partial(seeded, "resnet20", variant, layout, width)
    case = {**network_case("resnet20", layout, batch, width), "variant": variant}
    builds = min(_BUILDS, rounds)
    seconds: dict[str, tuple[float, ...]] = {}
    # The addresses of a network's tensors change the time of a step by about 1 %: build it several times.
    for number in range(builds):
        turns = _by_turns(build, images, labels, rounds=rounds // builds + (number < rounds % builds))
        seconds = {name: seconds.get(name, ()) + times for name, times in turns.items()}
    fifties = _fifties(build(), images, labels, rounds=max(3, rounds // 3))
    return [Measurement(STEP, case, seconds, "s"), Measurement(MANY, case, fifties, "s")]


def _by_turns(
    build: Callable[[], nn.Module], images: Tensor, labels: Tensor, *, rounds: int
) -> dict[str, tuple[float, ...]]:
    """Time a step under each way of monitoring, each with a network of its own, in seconds."""
    steps: dict[str, Step] = {}
    with ExitStack() as watching:
        for name in (NOTHING, EVERY, BETWEEN, STATISTICS, NAIVE):
            model = build()
            step: Step = partial(training_step(model), images, labels)
            if name in (EVERY, BETWEEN):
                watching.enter_context(Monitor(model, 1 if name == EVERY else 1 << 40))
            elif name == STATISTICS:
                statistics_hooks(model)
            elif name == NAIVE:
                step = NaiveHooks(model, step)
            steps[name] = step
        return interleaved(steps, rounds=rounds)


def _fifties(model: nn.Module, images: Tensor, labels: Tensor, *, rounds: int) -> dict[str, tuple[float, ...]]:
    """Time fifty steps of one network, in turns without a monitor and with a new one that samples the first step."""
    step = training_step(model)
    seconds: dict[str, list[float]] = {NOTHING: [], RARELY: []}
    step(images, labels)
    for _ in range(rounds):
        for name, times in seconds.items():
            start = time.perf_counter()
            with Monitor(model, _MANY) if name == RARELY else nullcontext():
                for _ in range(_MANY):
                    step(images, labels)
            times.append(time.perf_counter() - start)
    return {name: tuple(times) for name, times in seconds.items()}


def statistics_hooks(model: nn.Module) -> dict[str, list[tuple[float, float, float]]]:
    """Record mean, standard deviation and the fraction of outputs up to 0.05, of every layer in every forward pass.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Flatten(), nn.ReLU())
        >>> statistics = statistics_hooks(net)
        >>> _ = net(torch.tensor([[-1.0, 1.0]]))
        >>> statistics["1"][0][2]
        0.5
    """
    statistics: dict[str, list[tuple[float, float, float]]] = {}

    def record(name: str, module: nn.Module, args: Any, output: Tensor) -> None:  # noqa: ARG001
        output = output.detach().float()
        near = (output <= 0.05).sum().item() / output.numel()
        statistics.setdefault(name, []).append((output.mean().item(), output.std().item(), near))

    for name, module in model.named_modules():
        if not module._modules:
            module.register_forward_hook(partial(record, name))
    return statistics


class NaiveHooks:
    """A training step that records the same as a monitor with every=1, number by number.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> step = NaiveHooks(net, lambda: net(torch.ones(1, 2)).sum().backward())
        >>> step()
        >>> sorted(step.rows["1"])[:2], "update" in step.rows["0.weight"]
        (['always positive', 'gradient'], True)
    """

    def __init__(self, model: nn.Module, step: Step) -> None:
        self.model, self.step = model, step
        self.rows: dict[str, dict[str, Any]] = {}
        for name, module in model.named_modules():
            if isinstance(module, (nn.ReLU, nn.PReLU)) or hasattr(module, "slope"):
                module.register_forward_pre_hook(partial(self._before, name))
                module.register_forward_hook(partial(self._after, name))

    def __call__(self) -> None:
        """Take the step."""
        before = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        self.step()
        for name, parameter in self.model.named_parameters():
            row = self.rows.setdefault(name, {})
            row["gradient"] = 0.0 if parameter.grad is None else parameter.grad.norm().item()
            row["weight"] = before[name].norm().item()
            row["update"] = (parameter.detach() - before[name]).norm().item()

    def _before(self, name: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:  # noqa: ARG002
        z, row = args[0], self.rows.setdefault(name, {})
        positive = _per_unit(z.detach() > 0)
        row["positive"] = positive.mean().item()
        row["never positive"] = (positive == 0).sum().item()
        row["always positive"] = (positive == 1).sum().item()
        row["not finite"] = (~z.detach().isfinite()).any().item()

        def reached(gradient: Tensor) -> None:
            row["gradient"] = gradient.norm().item()
            row["zero gradient"] = (_per_unit(gradient != 0) == 0).sum().item()

        if z.requires_grad:
            z.register_hook(reached)

    def _after(self, name: str, module: nn.Module, args: Any, y: Tensor) -> None:  # noqa: ARG002
        def arrived(gradient: Tensor) -> None:
            self.rows[name]["gradient before"] = gradient.norm().item()

        if y.requires_grad:
            y.register_hook(arrived)


def _per_unit(flags: Tensor) -> Tensor:
    return flags.float().transpose(0, 1).flatten(1).mean(1)
