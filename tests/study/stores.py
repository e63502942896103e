"""Files of studies for tests: of an older schema, and with an edited spec."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from slopewise.records import TRIAL_PARTS, TrialRecord
from slopewise.study import FILE, Store, StudySpec
from slopewise.study._store._packed import encode, seal

METRICS = ("loss", "accuracy")
FINAL = [f"{part}_{metric}" for part in ("train", "validation", "test") for metric in METRICS]
LATER = ("scores", "layer_scores", "cell", "tuned_lr")  # kinds of record and fields that the first schema never had
EPOCH = [f"{part}_{metric}" for part in ("train", "validation") for metric in METRICS]


def edit_spec(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what a study was asked, as an older version would have written it."""
    with closing(sqlite3.connect(folder / FILE)) as file, file:
        spec, data, plan = file.execute("SELECT spec, data, plan FROM study").fetchone()
        spec = json.dumps(change(json.loads(spec)))
        file.execute("UPDATE study SET spec = ?, sha256 = ?", [spec, seal(spec, data, plan)])


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
        names = [f.name for f in fields(TrialRecord) if f.name not in (*TRIAL_PARTS, *LATER)]
        own = [name for name in names if ("trials", name) not in without] + FINAL
        file.execute(f"CREATE TABLE trials (id INTEGER PRIMARY KEY, {', '.join(own)}, UNIQUE (arm, seed))")
        for number, trial in enumerate(trials, start=1):
            marks = ", ".join("?" * (len(own) + 1))
            file.execute(
                f"INSERT INTO trials VALUES ({marks})", [number, *(_column(trial, None, trial, name) for name in own)]
            )
        for part, record in TRIAL_PARTS.items():
            if part in LATER or (part, "") in without:
                continue
            names = [f.name for f in fields(record) if (part, f.name) not in without]
            names += EPOCH if part == "epochs" else []
            columns = ", ".join(f'"{name}"' for name in names)
            file.execute(f"CREATE TABLE {part} (trial INTEGER REFERENCES trials (id), {columns})")
            rows = [
                [number, *(_column(trial, getattr(row, "epoch", None), row, name) for name in names)]
                for number, trial in enumerate(trials, start=1)
                for row in getattr(trial, part)
            ]
            file.executemany(f"INSERT INTO {part} VALUES ({', '.join('?' * (len(names) + 1))})", rows)
        file.execute("PRAGMA user_version = 1")


def write_schema4(folder: Path, spec: StudySpec, data: Mapping[str, Any], trials: Sequence[TrialRecord]) -> None:
    """Write the file that the fourth schema had: the tables of today, without repeats, claims and times of commits."""
    with closing(Store.create(folder, spec, dict(data))) as store:
        for trial in trials:
            store.add(trial, {"cpu": "x"})
    with closing(sqlite3.connect(folder / FILE)) as file, file:
        for table in ("repeats", "claims"):
            file.execute(f"DROP TABLE {table}")
        file.execute("ALTER TABLE records DROP COLUMN stored")
        file.execute("PRAGMA user_version = 4")


def write_schema3(folder: Path, spec: StudySpec, data: Mapping[str, Any], trials: Sequence[TrialRecord]) -> None:
    """Write the file that the third schema had: that of the fourth, without cells and plan."""
    write_schema4(folder, spec, data, trials)
    with closing(sqlite3.connect(folder / FILE)) as file, file:
        for view in ("trials", *TRIAL_PARTS):
            file.execute(f"DROP VIEW {view}")
        file.execute("DROP INDEX records_trial")
        file.execute("ALTER TABLE records DROP COLUMN cell")
        file.execute("CREATE UNIQUE INDEX records_arm_seed ON records (arm, seed)")
        file.execute("ALTER TABLE study DROP COLUMN plan")
        texts = file.execute("SELECT spec, data FROM study").fetchone()
        file.execute("UPDATE study SET sha256 = ?", [seal(*texts)])
        file.execute("PRAGMA user_version = 3")


def write_schema2(folder: Path, spec: StudySpec, data: Mapping[str, Any], trials: Sequence[TrialRecord]) -> None:
    """Write the file that the second schema had: that of the third, with a column for each score in its texts."""
    write_schema3(folder, spec, data, trials)
    with closing(sqlite3.connect(folder / FILE)) as file, file:
        file.execute("ALTER TABLE records DROP COLUMN scores")
        for trial in trials:
            key = [trial.arm, trial.seed]
            columns = "facts, epochs, sites, gradients, operator_costs, alarms"
            rows = file.execute(f"SELECT {columns} FROM records WHERE (arm, seed) = (?, ?)", key)
            facts, *parts = rows.fetchone()
            facts = encode(json.loads(facts) | {name: _column(trial, None, trial, name) for name in FINAL})
            epochs = json.loads(parts[0])
            for name in EPOCH:
                epochs[name] = [_column(trial, epoch, None, name) for epoch in epochs["epoch"]]
            parts[0] = encode(epochs)
            digest = seal(trial.arm, str(trial.seed), trial.status, facts, *parts)
            file.execute(
                "UPDATE records SET facts = ?, epochs = ?, sha256 = ? WHERE (arm, seed) = (?, ?)",
                [facts, parts[0], digest, *key],
            )
        file.execute("PRAGMA user_version = 2")


def _column(trial: TrialRecord, epoch: int | None, row: Any, name: str) -> Any:
    """Return a field of a record, or the score that was one."""
    part, _, metric = name.partition("_")
    return trial.score(part, metric, epoch) if name in {*FINAL, *EPOCH} else getattr(row, name)  # type: ignore[arg-type]
