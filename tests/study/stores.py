"""Files of studies for tests: of an older schema, and with an edited spec."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from slopewise.records import TRIAL_PARTS, TrialRecord
from slopewise.study._store import FILE
from slopewise.study._store._packed import seal


def edit_spec(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what a study was asked, as an older version would have written it."""
    with closing(sqlite3.connect(folder / FILE)) as file, file:
        spec, data = file.execute("SELECT spec, data FROM study").fetchone()
        spec = json.dumps(change(json.loads(spec)))
        file.execute("UPDATE study SET spec = ?, sha256 = ?", [spec, seal(spec, data)])


def write_schema1(
    folder: Path,
    spec: Mapping[str, Any],
    data: Mapping[str, Any],
    trials: Sequence[TrialRecord],
    environments: Mapping[str, Any] = {},
    *,
    without: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the file that the first schema had: a table a kind of record, a column a field.

    Args:
        folder: Folder of the study.
        spec: Spec as plain data.
        data: Facts of the data.
        trials: Trials.
        environments: Facts of environments by digest.
        without: Tables, with "" for their column, and columns that the file shall lack.
    """
    with closing(sqlite3.connect(folder / FILE)) as file, file:
        file.execute(
            "CREATE TABLE study (id INTEGER PRIMARY KEY CHECK (id = 1), spec JSON NOT NULL, data JSON NOT NULL)"
        )
        file.execute("INSERT INTO study VALUES (1, ?, ?)", [json.dumps(spec), json.dumps(data)])
        file.execute("CREATE TABLE environments (digest TEXT PRIMARY KEY, facts JSON NOT NULL)")
        file.executemany(
            "INSERT INTO environments VALUES (?, ?)", [(k, json.dumps(v)) for k, v in environments.items()]
        )
        own = [f.name for f in fields(TrialRecord) if f.name not in TRIAL_PARTS and ("trials", f.name) not in without]
        file.execute(f"CREATE TABLE trials (id INTEGER PRIMARY KEY, {', '.join(own)}, UNIQUE (arm, seed))")
        for number, trial in enumerate(trials, start=1):
            marks = ", ".join("?" * (len(own) + 1))
            file.execute(f"INSERT INTO trials VALUES ({marks})", [number, *(getattr(trial, name) for name in own)])
        for part, record in TRIAL_PARTS.items():
            if (part, "") in without:
                continue
            names = [f.name for f in fields(record) if (part, f.name) not in without]
            columns = ", ".join(f'"{name}"' for name in names)
            file.execute(f"CREATE TABLE {part} (trial INTEGER REFERENCES trials (id), {columns})")
            rows = [
                [number, *(getattr(row, name) for name in names)]
                for number, trial in enumerate(trials, start=1)
                for row in getattr(trial, part)
            ]
            file.executemany(f"INSERT INTO {part} VALUES ({', '.join('?' * (len(names) + 1))})", rows)
        file.execute("PRAGMA user_version = 1")
