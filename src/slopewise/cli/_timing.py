"""Benchmarks on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from slopewise.cli._app import Json, app, echo, print_json, say
from slopewise.cli._size import shape
from slopewise.errors import SlopewiseError
from slopewise.support import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

_MOST_THREADS = 1024


@app.command()
def bench(
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch; by default as many as it takes.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny and in seconds: that it runs, not what it costs.")
    ] = False,
    keep_memory: Annotated[
        bool,
        typer.Option(
            "--keep-memory/--no-keep-memory", help="Keep freed memory in the process, as studies do, or return it."
        ),
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="Measure your network instead: module:callable, or timm:NAME, torchvision:NAME, transformers:NAME.",
        ),
    ] = None,
    image: Annotated[
        Any,
        typer.Option("--input", metavar="SHAPE", parser=shape, help="Shape of one image for it, as in 3x112x112."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in a step of it.", show_default="8")] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last/--no-channels-last", help="Measure it in channels last as well.")
    ] = True,
    loss: Annotated[
        str | None,
        typer.Option(
            help="Loss of its output, module:callable.", show_default="the mean of the squares of all outputs"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what PReLU costs on this machine, in time and memory.

    PReLU is compared with ReLU and with stock PyTorch's PReLU: as one activation, behind a BatchNorm, and in a training
    step of ResNet-20, all as ratios within this run. It takes under two minutes on two cores, which should be left
    alone meanwhile, and ends with one line per question.

    With --model, the training step of your network is measured: as it is, with its own activations; converted; and
    fused, each in the memory format of its weights and in channels last. The callable gets num_classes (10) and
    in_channels if it has parameters of these names.

    Examples:

    \b
      slopewise bench

    \b
      slopewise bench --threads 2 --json > bench.json

    \b
      slopewise bench --model mynet:Net --input 3x112x112 --batch 16
    """
    from slopewise import bench as benchmarks
    from slopewise import machine

    if threads is not None and not 0 < threads <= _MOST_THREADS:
        raise SlopewiseError(f"threads: 1 to {_MOST_THREADS:,}, got {quoted(threads)}")
    for_a_model = {"--input": image, "--batch": batch, "--loss": loss}
    if model is None and (flags := [flag for flag, value in for_a_model.items() if value is not None]):
        raise SlopewiseError(f"{flags[0]} is for a network of yours: name it with --model module:callable")
    if model is None:
        jobs = benchmarks.short_jobs(quick=quick)
    else:
        network, given = _own(model, image, loss)
        rounds, images = (2, 2) if quick else (15, 8)
        jobs = benchmarks.own_jobs(
            network, model, image, batch=batch or images, channels_last=channels_last, loss=given, rounds=rounds
        )
    if keep_memory and not machine.keep_memory():
        say("memory cannot be kept: this process does not allocate from glibc")
    with benchmarks.using_threads(threads):
        facts = benchmarks.machine()
        say(benchmarks.heading(facts))
        measurements = benchmarks.run_jobs(jobs, say)
    lines = benchmarks.answers(measurements) if model is None else benchmarks.gain(measurements)
    if as_json:
        print_json(
            {"facts": facts, "answers": lines, "measurements": [measurement.to_json() for measurement in measurements]}
        )
        return
    benchmarks.print_measurements(measurements, Console())
    for line in lines:
        echo(line)


def _own(model: str, image: list[int] | None, loss: str | None) -> tuple[nn.Module, Callable[..., Any] | None]:
    """Return a user's network, with weights that are the same in every run, and the loss."""
    from torch import manual_seed, nn

    from slopewise.study import ModelSpec, resolve
    from slopewise.study.models import recipe

    if image is None:
        raise SlopewiseError("--model needs the shape of an image, as in --input 3x112x112")
    manual_seed(0)
    network = recipe(ModelSpec(name=model)).network(
        activation=lambda channels: nn.ReLU(),  # noqa: ARG005 - it has no channels
        num_classes=10,
        in_channels=image[0],
        upscale=1,
        dimensions=len(image) - 1,
    )
    return network, None if loss is None else resolve(loss)
