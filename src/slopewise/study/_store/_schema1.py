"""Files of schema 1, the first, which had a table for each kind of record and a row for each record.

Such files are read unchanged, and rewritten when their study is resumed. A kind of record or a field that was added
later is a table or a column that older files lack. They have no digests, so that a changed number is not detected.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from typing import Any

from slopewise.records import TRIAL_PARTS, TrialRecord
from slopewise.study._store._columns import scores

SCHEMA = 1
TABLES = ("study", "environments", "trials", "epochs", "sites", "gradients", "operator_costs", "alarms")

_Rows = list[dict[str, Any]]


def read(
    connection: sqlite3.Connection,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]], list[TrialRecord]]:
    """Return spec, facts of the data, environments and trials.

    Raises:
        sqlite3.DatabaseError: SQLite finds the file damaged.
        ValueError: A text in it is no UTF-8 or no JSON, or a row does not make a record.
    """
    study = _rows(connection, "study")
    if len(study) != 1:
        raise ValueError("it names no study")
    environments = {row["digest"]: json.loads(row["facts"]) for row in _rows(connection, "environments")}
    parts: dict[str, dict[int, list[Any]]] = {}
    for name, record in TRIAL_PARTS.items():
        known = {f.name for f in fields(record)}
        groups = parts.setdefault(name, {})
        for row in _rows(connection, name):
            fields_of = {key: value for key, value in row.items() if key in known}
            groups.setdefault(row["trial"], []).append(record(**fields_of))
    epochs: dict[int, _Rows] = {}
    for row in _rows(connection, "epochs"):
        epochs.setdefault(row["trial"], []).append(row)
    names = {f.name for f in fields(TrialRecord)}
    trials = []
    for row in _rows(connection, "trials"):
        values: dict[str, Any] = {key: value for key, value in row.items() if key in names}
        values |= {name: tuple(groups.get(row["id"], ())) for name, groups in parts.items()}
        values["scores"] = scores(row, epochs.get(row["id"], ()))
        trials.append(TrialRecord(**values))
    return json.loads(study[0]["spec"]), json.loads(study[0]["data"]), environments, trials


def spec(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Return the spec alone; None if it is not one, in which case `read` raises the error."""
    (text,) = connection.execute("SELECT spec FROM study").fetchone() or (b"",)
    try:
        fields = json.loads(text)
        return fields if fields.keys() >= {"arms", "seeds"} else None
    except (ValueError, TypeError, AttributeError):
        return None


def _rows(connection: sqlite3.Connection, table: str) -> _Rows:
    """Return the rows of a table in the order in which they were written; [] for a table that the file lacks."""
    columns = [name.decode() for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
    if not columns:
        return []
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 - one of TABLES
    return [dict(zip(columns, map(_text, row), strict=True)) for row in cursor]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
