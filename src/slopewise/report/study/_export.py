"""Records of a study as files for other tools: JSON, CSV, Parquet."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slopewise.errors import SlopewiseError
from slopewise.records import TRIAL_PARTS, StudyRecord, TrialRecord


def tables(study: StudyRecord) -> dict[str, tuple[list[str], list[tuple[Any, ...]]]]:
    """Return the columns and rows of `trials` and of each of `TRIAL_PARTS`, whose rows name arm and seed."""
    own = [f.name for f in dataclasses.fields(TrialRecord) if f.name not in TRIAL_PARTS]
    result = {"trials": (own, [tuple(getattr(trial, name) for name in own) for trial in study.trials])}
    for part, record in TRIAL_PARTS.items():
        names = [f.name for f in dataclasses.fields(record)]
        rows = [
            (trial.arm, trial.seed, *(getattr(row, name) for name in names))
            for trial in study.trials
            for row in getattr(trial, part)
        ]
        result[part] = (["arm", "seed", *names], rows)
    return result


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
