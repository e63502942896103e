"""Overhead of the engines: a study of 1,000 trials of a tiny network, on this machine and on two nodes of Ray.

Both run two trials side by side, each on one core, and store every record. The overhead of a trial is the time that a
worker spends on it beyond its training (`TrialRecord.seconds`): to get the trial, to build the network, to score it and
report it, and to wait for the next. It is counted from the moment at which each worker has finished a trial, so that
the start of workers does not count. Targets: 50 ms locally, 100 ms on Ray.

    python benchmarks/engines.py
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _harness import write_json
from rich.console import Console
from rich.table import Table

from slopewise.bench import heading, machine
from slopewise.events import Ended
from slopewise.study import Study
from slopewise.study.engines import Engine, LocalEngine, RayEngine

SIDE_BY_SIDE = 2
TARGETS = {"local": 0.050, "ray, 2 nodes": 0.100}  # seconds a trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--engine", choices=[name.split(",")[0] for name in TARGETS], help="only this one")
    parser.add_argument("--json", type=Path, help="file to write", metavar="PATH")
    options = parser.parse_args()
    print(heading(machine()))
    results = {
        name: measured(name, options.trials, options.epochs)
        for name in TARGETS
        if options.engine in (None, name.split(",")[0])
    }
    table = Table("engine", "trials", "start-up s", "trials a second", "training ms", "overhead ms", "target ms")
    for name, found in results.items():
        target = TARGETS[name]
        verdict = f"{1000 * target:.0f}, {'met' if found['overhead'] <= target else 'missed'}"
        numbers = [found["startup"], found["rate"], 1000 * found["training"], 1000 * found["overhead"]]
        table.add_row(name, f"{found['trials']:,}", *(f"{number:.1f}" for number in numbers), verdict)
    Console().print(table)
    write_json("engines", {"epochs": options.epochs, "side_by_side": SIDE_BY_SIDE, "engines": results}, options.json)


def measured(name: str, trials: int, epochs: int) -> dict[str, Any]:
    """Run the study on an engine; times are in seconds, those of trials means over all after start-up."""
    study = Study(
        arms="relu,prelu_channel", seeds=trials // 2, data={"train_size": 200}, model={"options": {"width": 4}},
        train={"epochs": epochs}, monitor={"every": 0},
    )  # fmt: skip
    ends: list[tuple[float, float]] = []  # time of each end, and seconds of training before

    def follow(event: object) -> None:
        if isinstance(event, Ended):
            if event.record.status != "finished":
                raise SystemExit(event.record.error)
            ends.append((time.perf_counter(), event.record.seconds or 0.0))

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, engine_of(name) as engine:
        begun = time.perf_counter()
        study.run(folder, engine=engine, on_event=follow)
    ready = 2 * SIDE_BY_SIDE  # by then both workers have started, and neither times operators any more
    elapsed = ends[-1][0] - ends[ready - 1][0]
    training = sum(seconds for _, seconds in ends[ready:])
    count = len(ends) - ready
    return {
        "trials": len(ends),
        "startup": ends[0][0] - begun - ends[0][1],
        "cluster": begun - start,
        "rate": count / elapsed,
        "training": training / count,
        "overhead": (elapsed * SIDE_BY_SIDE - training) / count,
    }


@contextmanager
def engine_of(name: str) -> Iterator[Engine]:
    """Give the engine of a row of the table."""
    if name == "local":
        yield LocalEngine(workers=SIDE_BY_SIDE)
        return
    os.environ["RAY_AUTH_MODE"] = "disabled"  # before Ray is imported: nodes and driver must agree
    from ray.cluster_utils import Cluster

    logging.disable(logging.WARNING)
    small = {"num_cpus": SIDE_BY_SIDE // 2, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    cluster.add_node(**small)
    cluster.wait_for_nodes()
    try:
        yield RayEngine(address=cluster.address)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
