"""Do the monitor's alarms tell of a divergence before it comes, and are they silent where training is well?

Trials of the default study are trained at its own learning rate, where every arm trains well, and at higher ones. The
monitor samples every step; what it would have said of one step in 10 or 50 follows from the same samples. The lead of
an alarm is the number of steps from the one that raised it to the one whose loss is not finite.

Thresholds were set on seeds 0 to 9 and checked on 10 to 19.

    python benchmarks/alarms.py                             # an hour on two cores
    python benchmarks/alarms.py --seeds 0-1 --rates 0.025
    python benchmarks/alarms.py --arms prelu_shared --rates 0.1 --seeds 10-19
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _harness import write_json
from rich.console import Console
from rich.table import Table

from slopewise.monitor import Sample, Thresholds
from slopewise.recording.alarms import Facts, Judge
from slopewise.study._spec import DEFAULT_ARMS, StudySpec
from slopewise.study._trial import make_fabric
from slopewise.study._trial._run import Trial
from slopewise.study.data import load_data

EVERY = (1, 10, 50)
Job = tuple[float, str, int]


def train(job: Job) -> dict[str, Any]:
    """One trial: the step of its divergence, and what was alarming, sampled more or less often."""
    rate, arm, seed = job
    spec = StudySpec(train={"lr": rate}, monitor={"every": 1})
    torch.set_num_threads(spec.hardware.threads)
    trial = Trial(make_fabric(spec.hardware), spec, spec.arm(arm), seed, load_data(spec.data))
    record = trial.run(None)
    samples = () if trial.monitor is None else trial.monitor.samples
    moves = [layer.update for sample in samples for layer in sample.slopes if layer.update is not None]
    return {
        "lr": rate,
        "arm": arm,
        "seed": seed,
        "diverged": record.diverged_step,
        "largest_move": max(moves, default=None) if record.diverged_step is None else None,
        "alarms": {every: judged(samples[::every]) for every in EVERY},
    }


def judged(samples: tuple[Sample, ...]) -> list[tuple[str, str, int]]:
    """Alarm, place and step. The default study ties no slope and decays none, so there are no facts to know."""
    judge = Judge(Thresholds())
    alarms = [alarm for sample in samples for alarm in judge.see(sample, Facts())]
    return [(alarm.id, alarm.where, alarm.step) for alarm in alarms]


def lead(row: dict[str, Any], every: int) -> int | None:
    """Steps from the first slope that runs away to the divergence."""
    steps = [step for kind, _, step in row["alarms"][every] if kind == "slope-runaway"]
    return row["diverged"] - min(steps) if row["diverged"] is not None and steps else None


def table(rows: list[dict[str, Any]], every: int) -> Table:
    found = Table(title=f"one step in {every} sampled: trials with an alarm, and leads of slope-runaway")
    for column in ("lr", "arm", "trials", "well", "with an alarm", "diverged", "slope-runaway", "least lead", "median"):
        found.add_column(column, justify="right")
    for rate, arm in dict.fromkeys((row["lr"], row["arm"]) for row in rows):
        here = [row for row in rows if (row["lr"], row["arm"]) == (rate, arm)]
        well = [row for row in here if row["diverged"] is None]
        lost = [row for row in here if row["diverged"] is not None]
        said = Counter(kind for row in well for kind in {kind for kind, *_ in row["alarms"][every]})
        leads = [steps for row in lost if (steps := lead(row, every)) is not None]
        found.add_row(
            f"{rate:g}",
            arm,
            str(len(here)),
            str(len(well)),
            ", ".join(f"{count} {kind}" for kind, count in said.items()) or "0",
            str(len(lost)),
            str(len(leads)) if lost else "",
            str(min(leads)) if leads else "",
            f"{median(leads):g}" if leads else "",
        )
    return found


def seeds(text: str) -> list[int]:
    low, _, high = text.partition("-")
    return list(range(int(low), int(high or low) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=list(DEFAULT_ARMS), choices=DEFAULT_ARMS)
    parser.add_argument("--rates", nargs="+", type=float, default=[0.025, 0.05, 0.1])
    parser.add_argument("--seeds", type=seeds, default=seeds("0-19"), metavar="LOW-HIGH")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where results go, in place of benchmarks/results/")
    arguments = parser.parse_args()
    jobs = [(rate, arm, seed) for rate in arguments.rates for arm in arguments.arms for seed in arguments.seeds]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for row in pool.map(train, jobs):
            rows.append(row)
            print(json.dumps({key: value for key, value in row.items() if key != "alarms"}), flush=True)
    for every in EVERY:
        Console(width=150).print(table(rows, every))
    write_json("alarms", {"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
