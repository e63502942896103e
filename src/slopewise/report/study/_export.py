"""Records of a study as files for other tools: JSON, CSV, Parquet.

CSV and Parquet have a table of `results` beside those of the records: a row for each trial, which `slopewise judge` and
every tool for tables can read.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slopewise.errors import SlopewiseError
from slopewise.records import TRIAL_PARTS, Part, StudyRecord, TrialRecord


def tables(study: StudyRecord) -> dict[str, tuple[list[str], list[tuple[Any, ...]]]]:
    """Return the columns and rows of `results`, `trials`, and each of `TRIAL_PARTS`, whose rows name their trial.

    `results` has the trials under the study's own settings alone, the others those of all cells.
    """
    own = [f.name for f in dataclasses.fields(TrialRecord) if f.name not in TRIAL_PARTS]
    result = {"results": _results(study)}
    trials = study.every_trial
    result |= {"trials": (own, [tuple(getattr(trial, name) for name in own) for trial in trials])}
    for part, record in TRIAL_PARTS.items():
        names = [f.name for f in dataclasses.fields(record)]
        rows = [
            (trial.arm, trial.seed, trial.cell, *(getattr(row, name) for name in names))
            for trial in trials
            for row in getattr(trial, part)
        ]
        result[part] = (["arm", "seed", "cell", *names], rows)
    return result


def _results(study: StudyRecord) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return a row for each trial that finished: arm, seed, time of a step, and the final scores of each part.

    Scores are in the metrics' own units, before `scale`. Those of a diverged trial are NaN. A trial that failed, or
    that has no finite primary score although it did not diverge, tells nothing of its arm and has no row.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> columns, rows = _results(synthetic_study(("relu", "elu"), seeds=2, diverged={"elu": 1}, failed={"relu": 1}))
        >>> columns[:4], [row[:2] for row in rows]
        (['arm', 'seed', 'test_accuracy', 'test_loss'], [('relu', 0), ('elu', 0), ('elu', 1)])
    """
    parts: tuple[Part, ...] = ("test", "validation", "train")
    scores = [(part, metric.name) for part in parts for metric in study.metrics]
    rows = []
    for trial in study.trials:
        primary = trial.score("test", study.primary.name)
        if trial.diverged or (primary is not None and math.isfinite(primary)):
            values = [math.nan if trial.diverged else trial.score(part, name) for part, name in scores]
            rows.append((trial.arm, trial.seed, *values, trial.seconds_per_step))
    return ["arm", "seed", *(f"{part}_{name}" for part, name in scores), "seconds_per_step"], rows


def export_json(study: StudyRecord, path: Path) -> list[Path]:
    """Write all records into one JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(study), indent=1, allow_nan=False), encoding="utf-8")
    return [path]


def export_csv(study: StudyRecord, path: Path) -> list[Path]:
    """Write a folder with a CSV file for each table; an empty field is a missing value."""
    path.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (columns, rows) in tables(study).items():
        written.append(path / f"{name}.csv")
        with written[-1].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)
    return written


def export_parquet(study: StudyRecord, path: Path) -> list[Path]:
    """Write a folder with a Parquet file for each table.

    Raises:
        SlopewiseError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise SlopewiseError(f"Parquet needs {error.name}: pip install 'slopewise[parquet]'") from error
    path.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (columns, rows) in tables(study).items():
        written.append(path / f"{name}.parquet")
        table = pa.table({column: [row[i] for row in rows] for i, column in enumerate(columns)})
        parquet.write_table(table, written[-1])
    return written


EXPORTS: dict[str, Callable[[StudyRecord, Path], list[Path]]] = {
    "json": export_json,
    "csv": export_csv,
    "parquet": export_parquet,
}
