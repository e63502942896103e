"""Reading of a study from its file: the undamaged content, and the names of the damaged items."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from slopewise.errors import StoreError
from slopewise.records import StudyCounts, StudyRecord
from slopewise.study._store import _schema1
from slopewise.study._store._packed import COLUMNS
from slopewise.study._store._place import Place
from slopewise.study._store._rows import (
    REPEAT_COLUMNS,
    counted_in,
    counts_of,
    make_record,
    repeats_of,
    seal_of,
    study_in,
    study_of,
)
from slopewise.study._store._sqlite import DAMAGE, in_words, is_damage, last_change, patiently, snapshot
from slopewise.study._store._stored_plan import StoredPlan

SCHEMA = 5  # stored as SQLite's user_version
SCHEMA_4 = 4  # the same tables without repeats and claims
SCHEMA_3 = 3  # the same tables without cells
SCHEMA_2 = 2  # the same tables, with a column for each score in their texts

_AT_ONCE = 64  # rows in memory while their digests are compared
_TRIES = 3  # a file that seems damaged may have been written meanwhile
_T = TypeVar("_T")
_LISTED = "SELECT rowid, arm, seed, cell FROM records INDEXED BY records_trial"  # independent list of the stored trials
_LISTED_3 = "SELECT rowid, arm, seed, '' FROM records INDEXED BY records_arm_seed"
_REPEATED = f"SELECT {', '.join(REPEAT_COLUMNS)} FROM repeats ORDER BY id"  # noqa: S608 - names of ours
_COUNTED = """
SELECT arm, sum(status = 'finished'), sum(status = 'finished' AND {diverged} IS NOT NULL), sum(status = 'failed')
    FROM {trials} NOT INDEXED GROUP BY arm
"""
_TRIALS = {  # by schema: the table with the status of trials, and the condition for a diverged one
    SCHEMA: ("records", "json_extract(facts, '$.diverged_step')"),
    SCHEMA_4: ("records", "json_extract(facts, '$.diverged_step')"),
    SCHEMA_3: ("records", "json_extract(facts, '$.diverged_step')"),
    SCHEMA_2: ("records", "json_extract(facts, '$.diverged_step')"),
    _schema1.SCHEMA: ("trials", "diverged_step"),
}


def holds_study(place: Place) -> bool:
    """Return True if a folder holds a store. A file without tables, left by a driver killed at its start, is none."""
    path = place.file
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        with snapshot(path) as connection:
            return not _is_empty(connection)
    except (*DAMAGE, OSError):
        return True  # there is a file, and reading it will report the fault


def _is_empty(connection: sqlite3.Connection) -> bool:
    version = connection.execute("PRAGMA user_version").fetchone()
    return version == (0,) and connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def stored_study(place: Place) -> StudyRecord | None:
    """Return the study in a folder, once no other program has its file locked; None if there is none yet."""
    return patiently(place.file, lambda: read_study(place)) if holds_study(place) else None


def state(place: Place) -> tuple[tuple[int, int], ...]:
    """Return the time and size of the file and of its log; see `last_change`."""
    return last_change(place.file)


def read_study(place: Place) -> StudyRecord:
    """Return the study stored in a folder so far, in the plan's order; `damaged` names the items left out.

    Raises:
        StoreError: The folder holds no study, the file is not a store, the study's spec is damaged, or it stays locked.
    """
    path = _existing(place)
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


def read_counts(place: Place) -> StudyCounts:
    """Return how many trials of each arm are finished, diverged and failed, counted by SQLite.

    Digests are compared, but rows are not decoded. Damaged trials are named and count as missing.

    Raises:
        StoreError: As in `read_study`.
    """
    path = _existing(place)
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
        return counts_of(spec, plan, counted)
    record = read_study(place)  # which names the damaged items
    return counts_of(record.spec, plan if spec else StoredPlan.of_spec(record.spec), counted_in(record), record.damaged)


def _is_whole(connection: sqlite3.Connection, schema: int) -> bool:
    """Compare the digest of every row, and the rows with their index, without decoding them."""
    rows: set[tuple[Any, ...]] = set()
    earlier: Iterator[bool] = iter(())
    cursor = connection.execute(f"{_select(connection)} NOT INDEXED")
    with ThreadPoolExecutor(2) as threads:  # digests take as long as reading does, and hold no lock of Python's
        while batch := cursor.fetchmany(_AT_ONCE):
            results = threads.map(_matches, batch)
            rows.update((number, arm, seed, cell) for number, cell, arm, seed, *_ in batch)
            if not all(earlier):
                return False
            earlier = results
        if not all(earlier):
            return False
    facts = connection.execute("SELECT digest, sha256, facts FROM environments").fetchall()
    known = {key for key, digest, text in facts if seal_of(key, text) == digest}
    used = {key for (key,) in connection.execute("SELECT DISTINCT json_extract(facts, '$.environment') FROM records")}
    counted = repeats_of(_repeated(connection, schema)) is not None
    return counted and rows == set(connection.execute(_listed(schema))) and used - {None} <= known


def _matches(row: tuple[Any, ...]) -> bool:
    """Return True if a row of trials matches its digest."""
    _, _, arm, seed, status, digest, *texts = row
    return isinstance(arm, bytes) and isinstance(status, bytes) and seal_of(arm, seed, status, *texts) == digest


def _listed(schema: int) -> str:
    return _LISTED if schema >= SCHEMA_4 else _LISTED_3


def _repeated(connection: sqlite3.Connection, schema: int) -> list[tuple[Any, ...]]:
    return connection.execute(_REPEATED).fetchall() if schema >= SCHEMA else []


def _counted(connection: sqlite3.Connection, schema: int) -> dict[str, list[int]]:
    trials, diverged = _TRIALS[schema]
    rows = connection.execute(_COUNTED.format(trials=trials, diverged=diverged))
    return {arm.decode(): numbers for arm, *numbers in rows if isinstance(arm, bytes)}


def _existing(place: Place) -> Path:
    path, folder = place.file, place.folder
    if not path.is_file():
        raise StoreError(f"no study in '{folder}': '{path}' does not exist; `slopewise run --out {folder}` makes one")
    if not path.stat().st_size:
        raise _no_study_yet(path)
    return path


def _no_study_yet(path: Path) -> StoreError:
    return StoreError(
        f"no study in '{path.parent}' yet: '{path}' is empty, as a run leaves it that is killed at once; "
        f"`slopewise run --out {path.parent}` goes on"
    )


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    if _is_empty(connection):
        raise _no_study_yet(path)
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    later = b"records" if version == _schema1.SCHEMA else b"repeats" if version < SCHEMA else b""
    if version not in _TRIALS or b"study" not in tables or later in tables:  # a flipped bit makes 5 a 4 or a 1
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
    return study_in(_try(lambda: connection.execute(query).fetchall()), str(path))


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
        study = _study(connection, path)
        stored = _try(lambda: connection.execute("SELECT digest, sha256, facts FROM environments").fetchall())
        listed = _try(lambda: {row: key for row, *key in connection.execute(_listed(schema))})
        repeats = _try(lambda: _repeated(connection, schema))
        times = _try(lambda: _times(connection))
        rows = _rows(connection, listed or {})
    return study_of(study, rows, listed, stored, repeats, times)


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


def _times(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
    """Return the earliest and the latest time of storing a trial; None for files of earlier versions."""
    if b"stored" not in {name for _, name, *_ in connection.execute("PRAGMA table_info(records)")}:
        return None
    row: tuple[Any, ...] = connection.execute("SELECT min(stored), max(stored) FROM records").fetchone()
    return row


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
