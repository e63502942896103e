"""Search for the learning rate and the number of epochs of the default study.

A grid on seeds that no study uses (1000, 1001, ...), judged by final validation accuracy alone; the test set is not
looked at. The rule, set before the search: the learning rate at which the CONTROL (ReLU) does best, ties to the
smaller one, and the fewest epochs within half a point of the control's best. The other arms are shown, not asked.

    python benchmarks/default_study_search.py --seeds 6
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from math import nan
from pathlib import Path
from statistics import mean, stdev

from rich.console import Console
from rich.table import Table

import slopewise as sw
from slopewise.records import TrialRecord
from slopewise.study._spec import DEFAULT_ARMS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=list(DEFAULT_ARMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lr", type=float, nargs="+", default=[0.0125, 0.025, 0.05, 0.1, 0.2])
    parser.add_argument("--epochs", type=int, nargs="+", default=[20, 40])
    arguments = parser.parse_args()
    seeds = [1000 + k for k in range(arguments.seeds)]

    table = Table(
        title="final validation accuracy in %: mean ± standard error, diverged seeds at chance (how many diverged)"
    )
    for column in ("epochs", "peak lr", *arguments.arms):
        table.add_column(column, justify="right")
    for epochs in arguments.epochs:
        for lr in arguments.lr:
            with tempfile.TemporaryDirectory() as folder:
                study = sw.Study(arms=arguments.arms, seeds=seeds, train={"epochs": epochs, "lr": lr})
                trials = study.run(Path(folder)).record.trials
            print(f"{epochs} epochs, lr {lr:g}: done", flush=True)
            table.add_row(str(epochs), f"{lr:g}", *(_cell(t for t in trials if t.arm == arm) for arm in arguments.arms))
    Console(width=110).print(table)


def _cell(trials: Iterable[TrialRecord]) -> str:
    trials = list(trials)
    scores = [0.1 if t.score("validation", "accuracy") is None else t.score("validation", "accuracy") for t in trials]
    diverged = sum(t.diverged for t in trials)
    error = 100 * stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else nan
    return f"{100 * mean(scores):.2f} ± {error:.2f}" + (f" ({diverged})" if diverged else "")


if __name__ == "__main__":
    main()
