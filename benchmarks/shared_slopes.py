"""Remedies for one slope of a whole layer that diverges where a slope for each channel trains.

The gradient of a shared slope is a sum over every element of the layer: over C times as many as that of a slope per
channel. The candidates are one shared slope, each with a different way to hold it back.

The criterion was set before the first run. A candidate is sound where, in every setting in which slopes per channel
train in all seeds, it does, too, with a mean validation accuracy that is at most one point below the better one of
slopes per channel and the unrestrained shared slope. Of the sound ones the simplest is taken: nothing to tune and
nothing to be told comes before that. Where a candidate misses the point by less than its standard error, more seeds
decide.

    python benchmarks/shared_slopes.py                  # every setting, hours on two cores
    python benchmarks/shared_slopes.py plain resnet20   # these alone
    python benchmarks/shared_slopes.py plain --seeds 2 --candidates channel sum mean
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import mean as average
from typing import Any

import torch.nn.functional as F
from _harness import write_json
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from slopewise.study._spec import StudySpec
from slopewise.study._spec_tables import ArmSpec
from slopewise.study._trial import run_trial


class Shared(nn.PReLU):
    """One slope. Its gradient is times `channels ** exponent` and clipped, its value kept in bounds."""

    def __init__(
        self, channels: int, exponent: float = 0.0, clip: float = inf, bounds: tuple[float, float] = (-inf, inf)
    ) -> None:
        super().__init__(1)
        self.scale, self.clip, self.bounds = channels**exponent, clip, bounds

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Apply it."""
        if self.training:
            self.weight.data.clamp_(*self.bounds)
        slope = self.weight.detach() + (self.weight - self.weight.detach()) * self.scale
        if slope.requires_grad:
            slope.register_hook(lambda gradient: gradient.clamp(-self.clip, self.clip))
        return F.prelu(input, slope)


@dataclass(frozen=True)
class Candidate:
    """An activation, and the slopes' learning rate relative to the weights'."""

    options: dict[str, Any] = field(default_factory=dict)
    activation: str = "shared_slopes:Shared"
    slope_lr_scale: float = 1.0


CANDIDATES = {
    "channel": Candidate(activation="torch.nn:PReLU"),
    "sum": Candidate(),
    "mean": Candidate({"exponent": -1.0}),  # gradient / C: the mean of the channels'
    "root": Candidate({"exponent": -0.5}),  # gradient / sqrt(C)
    "lr/10": Candidate(slope_lr_scale=0.1),
    "lr/100": Candidate(slope_lr_scale=0.01),
    "clip 1": Candidate({"clip": 1.0}),
    "clip 0.1": Candidate({"clip": 0.1}),
    "bounds": Candidate({"bounds": [0.0, 1.0]}),
    "frozen": Candidate(slope_lr_scale=0.0),  # no candidate: shows what the network does without learned slopes
}


def small(activation: Callable[[int], nn.Module], num_classes: int, in_channels: int) -> nn.Module:
    """Three convolutions and a hidden layer, without normalisation."""
    layers: list[nn.Module] = []
    for before, after, stride in ((in_channels, 32, 2), (32, 64, 2), (64, 128, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, padding=1), activation(after)]
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(512, 128), activation(128), nn.Linear(128, num_classes)]
    model = nn.Sequential(*layers)
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


@dataclass(frozen=True)
class Setting:
    """A network, its data and an optimizer, with the learning rates to try."""

    rates: tuple[float, ...]
    model: str = "cnn"
    options: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=lambda: {"source": "digits"})
    optimizer: str = "sgd"
    epochs: int = 20

    def spec(self, rate: float, candidates: Iterable[str], seeds: Iterable[int]) -> StudySpec:
        """The study of one learning rate."""
        arms = [ArmSpec(name=name, **vars(CANDIDATES[name])) for name in candidates]
        # Seed 0 is in no run: a study's first seed also times the kernels, which is not asked here.
        return StudySpec(
            arms=arms,
            seeds=(0, *seeds),
            data=self.data,
            model={"name": self.model, "options": self.options},
            train={"epochs": self.epochs, "lr": rate, "optimizer": self.optimizer},
        )


FASHION = {"source": "fashion-mnist", "train_size": 4000}
SETTINGS = {
    "plain": Setting((0.0125, 0.025, 0.05, 0.07, 0.1)),
    "plain-40": Setting((0.025, 0.05), epochs=40),
    "wide": Setting((0.0125, 0.025, 0.035, 0.05), options={"width": 48}, epochs=10),
    "batch-norm": Setting((0.05, 0.2, 0.8), options={"batch_norm": True}),
    "resnet20": Setting((0.05, 0.2, 0.8), model="resnet20", options={"width": 8}, epochs=10),
    "fashion": Setting((0.01, 0.03, 0.1), model="shared_slopes:small", data=FASHION, epochs=6),
    "plain-adamw": Setting((0.001, 0.004, 0.016), optimizer="adamw"),
    "batch-norm-adamw": Setting((0.001, 0.01, 0.1), options={"batch_norm": True}, optimizer="adamw"),
    "fashion-adamw": Setting(
        (0.001, 0.004, 0.016), model="shared_slopes:small", data=FASHION, epochs=6, optimizer="adamw"
    ),
}


def run(job: tuple[str, float, str, int, StudySpec]) -> dict[str, Any]:
    setting, rate, candidate, seed, spec = job
    record = run_trial(spec, candidate, seed)
    slopes = [s for s in record.sites if s.epoch == record.epochs[-1].epoch and s.slopes]
    return {
        "setting": setting,
        "lr": rate,
        "candidate": candidate,
        "seed": seed,
        "diverged": record.diverged,
        "accuracy": 0.1 if record.score("validation", "accuracy") is None else record.score("validation", "accuracy"),
        "slope_min": min(s.slope_min for s in slopes),
        "slope_max": max(s.slope_max for s in slopes),
    }


def show(rows: list[dict[str, Any]]) -> None:
    candidates = [name for name in CANDIDATES if any(row["candidate"] == name for row in rows)]
    table = Table(title="validation accuracy in %, mean over seeds, diverged at chance (how many diverged)")
    for column in ("setting", "lr", *candidates):
        table.add_column(column, justify="right")
    for setting, rate in dict.fromkeys((row["setting"], row["lr"]) for row in rows):
        here = [row for row in rows if (row["setting"], row["lr"]) == (setting, rate)]
        table.add_row(setting, f"{rate:g}", *(_cell([r for r in here if r["candidate"] == c]) for c in candidates))
    Console(width=150).print(table)


def _cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    diverged = sum(row["diverged"] for row in rows)
    return f"{100 * average(row['accuracy'] for row in rows):.2f}" + (f" ({diverged})" if diverged else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), help=", ".join(SETTINGS))
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument("--lr", nargs="+", type=float, help="in place of each setting's own")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where results go, in place of benchmarks/results/")
    arguments = parser.parse_args()
    seeds = [1000 + k for k in range(arguments.seeds)]
    jobs = [
        (name, rate, candidate, seed, SETTINGS[name].spec(rate, arguments.candidates, seeds))
        for name in arguments.settings
        for rate in arguments.lr or SETTINGS[name].rates
        for seed in seeds
        for candidate in arguments.candidates
    ]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for row in pool.map(run, jobs):
            rows.append(row)
            print(json.dumps(row), flush=True)
    show(rows)
    write_json("shared_slopes", {"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
