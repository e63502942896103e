"""Cost of many trials: writing, status, loading, analysis and page of studies of 100 to 10,000 trials of 50 epochs.

Nothing is trained: an engine hands the driver made-up records of the size of real ones (5 arms, 6 call sites, scores,
slopes and gradients after every epoch, some alarms). The driver stores them as it does all others. Everything else is
measured in a process of its own, start-up included where a user would wait for it.

    python benchmarks/scale.py
    python benchmarks/scale.py --trials 100,300 --store 'postgresql://user@127.0.0.1:5432/database'
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TARGETS = {"written": 100.0, "status": 1.0, "analysis": 2.0, "page": 20.0, "page MB": 25.0, "page memory MB": 1000.0}


def write(trials: int, folder: Path, store: str | None) -> dict[str, float]:
    """Let a driver store a study; the time is that from the first trial's start to the end of the last one."""
    from _made_up import ARMS, EPOCHS, POOL, Recorded, made_up

    from slopewise.events import Ended, Event, Started
    from slopewise.study import Study

    seeds = trials // len(ARMS)
    for seed in range(min(seeds, POOL)):
        made_up(seed)
    times: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, (Started, Ended)):
            times.append(time.perf_counter())

    study = Study(arms=list(ARMS), seeds=seeds, train={"epochs": EPOCHS})
    study.run(folder, store=store, engine=Recorded(), on_event=note)
    (start, *_, end) = times
    return {"written": trials / (end - start), "store MB": sum(f.stat().st_size for f in folder.iterdir()) / 1e6}


def measure(what: str, folder: Path) -> dict[str, float]:
    """Do one thing with a study in this process."""
    start = time.perf_counter()
    if what == "status":
        subprocess.run(
            [sys.executable, "-m", "slopewise", "status", str(folder)], check=True, stdout=subprocess.DEVNULL
        )
        return {"status": time.perf_counter() - start}
    from slopewise.study import load_study

    record = load_study(folder).record
    loaded = time.perf_counter()
    if what == "analysis":
        from slopewise.analysis import analyse

        analyse(record)
        return {"load": loaded - start, "analysis": time.perf_counter() - loaded, "analysis memory MB": peak()}
    from slopewise.report import write_html

    page = write_html(record, folder / "report.html")
    size = page.stat().st_size / 1e6
    return {"page": time.perf_counter() - start, "page MB": size, "page memory MB": peak()}


def peak() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def in_process(*arguments: str) -> dict[str, float]:
    """Run this script in a process of its own, and return what it measured."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure each number of trials in turn, or do the one thing that a process of its own is for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="100,300,1000,3000,10000", help="numbers of trials, separated by commas")
    parser.add_argument("--store", help="URL of a PostgreSQL database; by default a file", metavar="URL")
    parser.add_argument("--json", type=Path, help="file to write", metavar="PATH")
    parser.add_argument("--do", nargs=2, help=argparse.SUPPRESS, metavar=("WHAT", "FOLDER"))
    options = parser.parse_args()
    if options.do:
        what, folder = options.do[0], Path(options.do[1])
        trials = int(options.trials)
        print(json.dumps(write(trials, folder, options.store) if what == "write" else measure(what, folder)))
        return
    rows = []
    for trials in map(int, options.trials.split(",")):
        with tempfile.TemporaryDirectory() as root:
            at = [str(Path(root, "study")), "--trials", str(trials)]
            url = ["--store", f"{options.store}?study=scale-{trials}-{time.time_ns()}"] if options.store else []
            row = {"trials": float(trials), **in_process("--do", "write", *at, *url)}
            for what in ("status", "analysis", "page"):
                row |= in_process("--do", what, *at)
        rows.append(row)
        print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), file=sys.stderr, flush=True)
    from _harness import write_json  # with torch, which the measured processes must not hold

    show(rows)
    kind = "postgres" if options.store else "sqlite"
    write_json(f"scale-{kind}", {"rows": rows, "targets": TARGETS}, options.json)


def show(rows: Sequence[dict[str, float]]) -> None:
    """Print a row for each number of trials, and the targets."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Seconds, unless the name says otherwise; written: trials a second")
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in row.values()))
    limits = {"trials": "target"} | {name: f"{limit:g}" for name, limit in TARGETS.items()}
    table.add_section()
    table.add_row(*(limits.get(name, "") for name in rows[0]))
    Console(width=max(Console().width, 140)).print(table)


if __name__ == "__main__":
    main()
