"""Reading of a study from its file: the undamaged content, and the names of the damaged items."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from slopewise.errors import StoreError
from slopewise.records import (
    ArmCounts,
    StudyCounts,
    StudyRecord,
    TrialRecord,
    metrics_in,
)
from slopewise.study._store import _schema1
from slopewise.study._store._packed import COLUMNS, seal, unpack
from slopewise.study._store._sqlite import DAMAGE, in_words, is_damage, last_change, snapshot
from slopewise.study._store._stored_plan import Key, StoredPlan

FILE = "study.db"
SCHEMA = 4  # stored as SQLite's user_version
SCHEMA_3 = 3  # the same tables without cells
SCHEMA_2 = 2  # the same tables, with a column for each score in their texts

_TRIES = 3  # a file that seems damaged may have been written meanwhile
_T = TypeVar("_T")
_LISTED = "SELECT rowid, arm, seed, cell FROM records INDEXED BY records_trial"  # independent list of the stored trials
_LISTED_3 = "SELECT rowid, arm, seed, '' FROM records INDEXED BY records_arm_seed"
_COUNTED = """
SELECT arm, sum(status = 'finished'), sum(status = 'finished' AND {diverged} IS NOT NULL), sum(status = 'failed')
    FROM {trials} NOT INDEXED GROUP BY arm
"""
_TRIALS = {  # by schema: the table with the status of trials, and the condition for a diverged one
    SCHEMA: ("records", "json_extract(facts, '$.diverged_step')"),
    SCHEMA_3: ("records", "json_extract(facts, '$.diverged_step')"),
    SCHEMA_2: ("records", "json_extract(facts, '$.diverged_step')"),
    _schema1.SCHEMA: ("trials", "diverged_step"),
}


def holds_study(folder: str | Path) -> bool:
    """Return True if a folder holds a store. A file without tables, left by a driver killed at its start, is none."""
    path = Path(folder) / FILE
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        with snapshot(path) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()
            return version != (0,) or connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    except (*DAMAGE, OSError):
        return True  # there is a file, and reading it will report the fault


def read_study(folder: str | Path) -> StudyRecord:
    """Return the study stored in a folder so far, in the plan's order; `damaged` names the items left out.

    Args:
        folder: Folder of the study. It is only read, and may be one that cannot be written.

    Raises:
        StoreError: The folder holds no study, the file is not a store, the study's spec is damaged, or it stays locked.
    """
    path = _existing(folder)
    for attempt in range(1, _TRIES + 1):
        with in_words(path):
            before = last_change(path)
        try:
            record = _read(path)
        except StoreError:
            if attempt == _TRIES or last_change(path) == before:
                raise
        else:
            if attempt == _TRIES or not record.damaged or last_change(path) == before:
                return record
    raise AssertionError  # the last attempt has returned or raised


def read_counts(folder: str | Path) -> StudyCounts:
    """Return how many trials of each arm are finished, diverged and failed, counted by SQLite.

    Digests are compared, but rows are not decoded. Damaged trials are named and count as missing.

    Raises:
        StoreError: As in `read_study`.
    """
    path = _existing(folder)
    with in_words(path), snapshot(path) as connection:
        schema = _schema(connection, path)
        if schema != _schema1.SCHEMA:
            spec: dict[str, Any] | None
            spec, _, plan = _study(connection, path)
            whole = _try(lambda: _is_whole(connection, schema))
        else:
            spec = _try(lambda: _schema1.spec(connection))
            plan = StoredPlan.of_spec(spec) if spec else StoredPlan({}, 0)
            whole = spec is not None
        counted = _try(lambda: _counted(connection, schema)) if whole else None
    if spec is not None and counted is not None:
        return _counts(spec, plan, counted)
    record = read_study(folder)  # which names the damaged items
    totals = {arm: [0, 0, 0] for arm in record.arms}
    for trial in record.every_trial:
        totals[trial.arm][0] += trial.status == "finished"
        totals[trial.arm][1] += trial.status == "finished" and trial.diverged
        totals[trial.arm][2] += trial.status == "failed"
    return _counts(record.spec, plan if spec else StoredPlan.of_spec(record.spec), totals, record.damaged)


def _is_whole(connection: sqlite3.Connection, schema: int) -> bool:
    """Compare the digest of every row, and the rows with their index, without decoding them."""
    rows = set()
    for number, cell, arm, seed, status, digest, *texts in connection.execute(f"{_select(connection)} NOT INDEXED"):
        if not isinstance(arm, bytes) or not isinstance(status, bytes) or _seal(arm, seed, status, *texts) != digest:
            return False
        rows.add((number, arm, seed, cell))
    facts = connection.execute("SELECT digest, sha256, facts FROM environments").fetchall()
    known = {key for key, digest, text in facts if _seal(key, text) == digest}
    used = {key for (key,) in connection.execute("SELECT DISTINCT json_extract(facts, '$.environment') FROM records")}
    return rows == set(connection.execute(_listed(schema))) and used - {None} <= known


def _listed(schema: int) -> str:
    return _LISTED if schema == SCHEMA else _LISTED_3


def _counted(connection: sqlite3.Connection, schema: int) -> dict[str, list[int]]:
    trials, diverged = _TRIALS[schema]
    rows = connection.execute(_COUNTED.format(trials=trials, diverged=diverged))
    return {arm.decode(): numbers for arm, *numbers in rows if isinstance(arm, bytes)}


def _counts(
    spec: Mapping[str, Any],
    plan: StoredPlan,
    counted: Mapping[str, Iterable[int]],
    damaged: tuple[str, ...] = (),
) -> StudyCounts:
    arms = []
    for arm in (arm["name"] for arm in spec["arms"]):
        finished, diverged, failed = counted.get(arm, (0, 0, 0))
        arms.append(
            ArmCounts(arm, finished, diverged, failed, missing=max(plan.planned.get(arm, 0) - finished - failed, 0))
        )
    return StudyCounts(str(spec.get("name") or ""), tuple(arms), damaged, plan.most)


def _existing(folder: str | Path) -> Path:
    path = Path(folder) / FILE
    if not path.is_file():
        raise StoreError(f"no study in '{folder}': '{path}' does not exist; `slopewise run --out {folder}` makes one")
    if not holds_study(folder):
        raise StoreError(
            f"no study in '{folder}' yet: '{path}' is empty, as a run leaves it that is killed at once; "
            f"`slopewise run --out {folder}` goes on"
        )
    return path


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version not in _TRIALS or b"study" not in tables:
        raise StoreError(
            f"'{path}' is not a study of this version of slopewise (its schema is {version}, not {SCHEMA}): "
            "choose another folder"
        )
    return version


def _study(connection: sqlite3.Connection, path: Path) -> tuple[dict[str, Any], dict[str, Any], StoredPlan]:
    """Return the spec, the facts of the data, and the plan."""
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(study)")}
    plan = b"plan" in columns  # files of earlier versions have none
    query = "SELECT sha256, spec, data, plan FROM study" if plan else "SELECT sha256, spec, data, NULL FROM study"
    rows = _try(lambda: connection.execute(query).fetchall())
    if not rows or _seal(*rows[0][1:]) != rows[0][0]:
        raise StoreError(
            f"'{path}' has lost what its study was asked, without which its trials cannot be judged: take a copy of it "
            "from before, or move it away and begin anew"
        )
    spec, data = json.loads(rows[0][1]), json.loads(rows[0][2])
    stored = rows[0][3]
    return spec, data, StoredPlan.of_file(json.loads(stored)) if stored else StoredPlan.of_spec(spec)


def _read(path: Path) -> StudyRecord:
    with in_words(path), snapshot(path) as connection:
        schema = _schema(connection, path)
        if schema == _schema1.SCHEMA:
            try:
                return make_record(*_schema1.read(connection))
            except (ValueError, TypeError, KeyError) as error:
                raise StoreError(
                    f"'{path}' is damaged ({error}): take a copy of it from before, or move it away"
                ) from error
        spec, data, plan = _study(connection, path)
        stored = _try(lambda: connection.execute("SELECT digest, sha256, facts FROM environments").fetchall())
        listed = _try(lambda: {row: key for row, *key in connection.execute(_listed(schema))})
        rows = _rows(connection, listed or {})
    trials, damaged = _trials(rows, listed, plan.keys(spec))
    environments = {
        key.decode(): json.loads(facts) for key, digest, facts in stored or () if _seal(key, facts) == digest
    }
    used = dict.fromkeys(trial.environment for trial in trials if trial.environment)
    damaged += [f"environment {key}" for key in used if key not in environments]
    return make_record(spec, data, environments, trials, damaged, plan)


def _seal(*values: Any) -> bytes:
    """Return the digest of a row's values as the file stores it; b"" for values that no row has."""
    texts = [b"%d" % value if isinstance(value, int) else value for value in values]
    return seal(*texts).encode() if all(text is None or isinstance(text, bytes) for text in texts) else b""


def make_record(
    spec: dict[str, Any],
    data: dict[str, Any],
    environments: dict[str, dict[str, Any]],
    trials: Iterable[TrialRecord],
    damaged: Iterable[str] = (),
    plan: StoredPlan | None = None,
) -> StudyRecord:
    """Return the record of a study, made from the plain data of its spec and its trials in any order."""
    trials = list(trials)
    own = (trial for trial in trials if not trial.cell)
    adaptive = spec.get("until_decided") or {}
    arms = {arm["name"]: place for place, arm in enumerate(spec["arms"])}
    seeds = {seed: place for place, seed in enumerate(spec["seeds"])}
    metrics, chosen = metrics_in(data), spec.get("margin")
    if (margin := metrics[0].margin if chosen is None else chosen) is None:
        raise StoreError(f"the study has no margin, and its metric {metrics[0].title} has no default: it is damaged")
    recorded = "margin" in spec and "floor" in spec  # earlier versions stored the default as if it were chosen
    return StudyRecord(
        arms=tuple(arms),
        control=spec["control"],
        seeds=tuple(seeds),
        margin=margin,
        margin_chosen=chosen is not None if recorded else None,
        metrics=metrics,
        spec=spec,
        data=data,
        environments=environments,
        trials=tuple(sorted(own, key=lambda trial: (seeds[trial.seed], arms[trial.arm]))),
        damaged=tuple(damaged),
        looks=tuple(adaptive.get("looks") or ()),
        cells=plan.with_trials(trials) if plan else (),
    )


def _try(read: Callable[[], _T]) -> _T | None:
    """Return the result of `read`; None if SQLite finds the pages damaged.

    Raises:
        sqlite3.OperationalError: Reading failed for another reason, such as a lock.
    """
    try:
        return read()
    except DAMAGE as error:
        if not is_damage(error):
            raise
        return None


def _select(connection: sqlite3.Connection) -> str:
    """Return the query for the rows of trials, their number and cell first; older files lack later columns."""
    present = {name.decode() for _, name, *_ in connection.execute("PRAGMA table_info(records)")}
    columns = ", ".join(name if name in present else "NULL" for name in COLUMNS)
    cell = "cell" if "cell" in present else "''"
    return f"SELECT rowid, {cell}, {columns} FROM records"  # noqa: S608 - names of ours


def _rows(connection: sqlite3.Connection, listed: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
    """Return every row of trials that can be read, its number first."""
    select = _select(connection)
    whole = _try(lambda: connection.execute(select).fetchall())
    if whole is not None:
        return whole
    rows = []
    numbers = {row for row in listed if isinstance(row, int)}
    with suppress(*DAMAGE):  # reads on until the first page that is damaged
        numbers.update(row for (row,) in connection.execute("SELECT rowid FROM records NOT INDEXED"))
    for number in sorted(numbers):
        row = _try(lambda number=number: connection.execute(f"{select} WHERE rowid = ?", (number,)).fetchone())  # type: ignore[misc]
        if row is not None:
            rows.append(row)
    return rows


def _trials(
    rows: Iterable[tuple[Any, ...]], listed: Mapping[Any, Any] | None, planned: set[Key]
) -> tuple[list[TrialRecord], list[str]]:
    """Return the trials whose digests match, and the names of the others."""
    names = {row: _name(arm, seed, cell, planned) for row, (arm, seed, cell) in (listed or {}).items()}
    trials: dict[Key, TrialRecord] = {}
    damaged: dict[str, None] = {}
    for number, cell, *columns in rows:
        trial = _unpack(columns)
        if trial is not None and cell == trial.cell.encode() and (trial.arm, trial.seed, trial.cell) in planned:
            trials[trial.arm, trial.seed, trial.cell] = trial
        else:
            name = names.get(number) or _name(columns[0], columns[1], cell, planned)
            damaged[name or f"the trial in row {number}"] = None
    read = {number for number, *_ in rows}
    damaged |= dict.fromkeys(name or f"the trial in row {row}" for row, name in names.items() if row not in read)
    if listed is None and not damaged and len(trials) < len(planned):
        damaged["trials that can no longer be told"] = None
    whole = {_title(*key) for key in trials}
    return list(trials.values()), [name for name in damaged if name not in whole]


def _unpack(columns: Sequence[Any]) -> TrialRecord | None:
    try:
        return unpack(columns)
    except (ValueError, TypeError, AttributeError):  # the digest matches, but no version of slopewise writes such a row
        return None


def _name(arm: Any, seed: Any, cell: Any, planned: set[Key]) -> str | None:
    """Return the name of a trial; None if its arm, seed or cell is damaged, too."""
    arm, cell = (text.decode(errors="replace") if isinstance(text, bytes) else text for text in (arm, cell))
    return _title(arm, seed, cell) if (arm, seed, cell) in planned else None


def _title(arm: str, seed: int, cell: str) -> str:
    return f"{arm} seed {seed}{f' with {cell}' if cell else ''}"
