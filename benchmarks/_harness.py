"""Common parts of the benchmarks: facts of the machine, results as JSON, and the frame of those that compare costs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from slopewise.bench import (
    Job,
    heading,
    judge,
    machine,
    print_findings,
    print_measurements,
    run_jobs,
    using_threads,
)

RESULTS = Path(__file__).parent / "results"


def write_json(name: str, results: dict[str, Any], path: Path | None = None) -> Path:
    """Write results beside the facts of this machine, to benchmarks/results/NAME.json unless told otherwise."""
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {**machine(), "date": time.strftime("%Y-%m-%d")}
    path.write_text(json.dumps({"facts": facts, **results}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
    return path


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that the comparisons of costs share."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2, help="of PyTorch (default 2, as in the targets)")
    options.add_argument("--rounds", type=int, default=rounds, help=f"turns of each candidate (default {rounds})")
    options.add_argument("--json", type=Path, help="file to write", metavar="PATH")
    return options


def compare(name: str, jobs: Sequence[Job], options: argparse.Namespace) -> None:
    """Do the jobs, print tables and targets, write JSON. Progress goes to stderr."""
    with using_threads(options.threads):
        print(heading(machine()))
        start = time.perf_counter()
        measurements = run_jobs(jobs, lambda line: print(line, file=sys.stderr, flush=True))
        settings = {
            **{key: value for key, value in vars(options).items() if key != "json"},
            "seconds": round(time.perf_counter() - start, 1),
        }
        findings = judge(measurements)
        console = Console(width=max(Console().width, 140))
        print_measurements(measurements, console)
        print_findings(findings, console)
        results = {
            "settings": settings,
            "measurements": [found.to_json() for found in measurements],
            "targets": [finding.to_json() for finding in findings],
        }
        write_json(name, results, options.json)
