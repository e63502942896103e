"""Store of a study in a SQLite file, written by the study's only driver.

Views with the names of the records (`trials`, `epochs`, `sites`, ...) show them field by field, for any SQLite tool.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import DBAPIError

from slopewise.errors import StoreError, StoreWarning
from slopewise.records import TRIAL_PARTS, StudyRecord, TrialRecord
from slopewise.study._resume import check_data, check_same
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._store import _schema1
from slopewise.study._store._base import LEASE, PlanOf, Store, Work, study_texts
from slopewise.study._store._packed import KEYS, pack
from slopewise.study._store._place import Place
from slopewise.study._store._sqlite import BESIDE, begin_log, beside, end_log, fault, is_sound, patiently
from slopewise.study._store._sqlite_read import SCHEMA, read_counts, read_study, stored_study
from slopewise.study._store._stored_plan import StoredPlan
from slopewise.study._store._tables import METADATA, RECORDS, STUDY
from slopewise.support import unused

_T = TypeVar("_T")
_WAIT = 1.0  # seconds that SQLite waits for a lock; Ctrl-C is handled only between waits


class SqliteStore(Store):
    """Store of one driver: a SQLite file in the folder of the study."""

    shared = False

    def __init__(self, path: Path, lease: float = LEASE) -> None:
        self.path = path
        url = sql.URL.create("sqlite", database=str(path))
        super().__init__(sql.create_engine(url, connect_args={"timeout": _WAIT}), lease)
        sql.event.listen(self._engine, "connect", _prepare)
        sql.event.listen(self._engine, "begin", _begin)

    @classmethod
    def opened(cls, place: Place) -> SqliteStore:
        """Return the store of a folder that holds a study, without a change to it."""
        return cls(place.file)

    @classmethod
    def begun(cls, place: Place, spec: StudySpec, data: dict[str, Any], plan: PlanOf, *, lease: float) -> SqliteStore:
        """Return the store of a run.

        A file of an older schema is rewritten. A damaged file is kept under another name, and its undamaged content is
        copied to a new one. If another program has locked the file, the call waits, and warns once.
        """
        path, old = place.file, stored_study(place)
        if old:
            check_same(stored_spec(old.spec), spec, str(place), old.primary)
            check_data(old.data, data, str(place))
            if old.damaged or not patiently(path, lambda: is_sound(path)):
                _replace(path, old)
        texts = study_texts(spec.plain(), data, plan(spec))  # before anything is written
        store = cls(path, lease)
        patiently(path, lambda: begin_log(path))
        store._write(lambda connection: _set_up(store, connection, texts, old))
        return store

    @classmethod
    def discarded(cls, place: Place) -> str | None:
        """Take the file out of the way; see `discard`."""
        path = place.file
        kept = unused(path, "stopped") if read_counts(place).ended else None
        if kept:
            path.replace(kept)
        for suffix in ("", *BESIDE):
            beside(path, suffix).unlink(missing_ok=True)
        return str(kept) if kept else None

    def read(self) -> StudyRecord:
        """Return the study so far, once no other program has the file locked."""
        return patiently(self.path, lambda: read_study(Place(self.path.parent)))

    def close(self) -> None:
        """Close the file, and merge its log into it unless the file is being read."""
        super().close()
        end_log(self.path)

    def _write(self, work: Work[_T]) -> _T:
        """Do work in one transaction, repeated until no other program has the file locked."""
        return patiently(self.path, lambda: self._attempt(work))

    def _attempt(self, work: Work[_T]) -> _T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise StoreError(fault(self.path, error.orig)) from error.orig

    @staticmethod
    def _insert(table: sql.Table) -> Insert:
        return insert(table)


def _prepare(connection: Any, _: Any) -> None:
    """Move the log into the file after each commit, so that the file alone holds every trial unless somebody reads."""
    connection.execute("PRAGMA wal_autocheckpoint = 1")


def _begin(connection: sql.Connection) -> None:
    """Begin a write transaction now: Python's sqlite3 would wait for the first INSERT, after a CREATE TABLE."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _set_up(store: SqliteStore, connection: sql.Connection, texts: Mapping[str, str], old: StudyRecord | None) -> None:
    """Create or rewrite all tables in one transaction, so that no partial study can be left."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    here = version == SCHEMA and sql.inspect(connection).has_table("records")
    if not here:
        _drop_all(connection)
        METADATA.create_all(connection)
        for digest, facts in (old.environments if old else {}).items():
            store.add_environment(connection, digest, facts)
        for trial in old.every_trial if old else ():
            connection.execute(sql.insert(RECORDS).values(pack(trial)))
        for number, repeat in enumerate(old.repeats if old else ()):
            store.add_repeat(connection, repeat, f"copied {number}")
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
    for column in set(TRIAL_PARTS) - {each["name"] for each in sql.inspect(connection).get_columns("records")}:
        connection.exec_driver_sql(f"ALTER TABLE records ADD COLUMN {column} TEXT")
    for name, view in _views().items():
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        connection.exec_driver_sql(view)
    connection.execute(sql.delete(STUDY))
    connection.execute(sql.insert(STUDY).values(id=1, **texts))


def _drop_all(connection: sql.Connection) -> None:
    """Remove the tables and views of an older schema."""
    inspector = sql.inspect(connection)
    for view in inspector.get_view_names():
        connection.exec_driver_sql(f'DROP VIEW "{view}"')
    for table in set(inspector.get_table_names()) & {*_schema1.TABLES, *METADATA.tables}:
        connection.exec_driver_sql(f'DROP TABLE "{table}"')


def _views() -> dict[str, str]:
    """Return a view for trials and for each of their parts, a column a field."""
    facts = [f.name for f in fields(TrialRecord) if f.name not in (*KEYS, *TRIAL_PARTS)]
    columns = ", ".join(f"json_extract(facts, '$.{name}') AS {name}" for name in facts)
    views = {"trials": f"CREATE VIEW trials AS SELECT {', '.join(KEYS)}, {columns} FROM records"}  # noqa: S608
    for part, record in TRIAL_PARTS.items():
        first, *others = (f.name for f in fields(record))
        columns = ", ".join(
            f"json_extract(records.{part}, '$.{name}[' || place.key || ']') AS \"{name}\"" for name in others
        )
        views[part] = (
            f"CREATE VIEW {part} AS SELECT records.arm, records.seed, records.cell, "  # noqa: S608
            f'place.value AS "{first}", {columns} '
            f"FROM records, json_each(records.{part}, '$.{first}') AS place"
        )
    return views


def _replace(path: Path, record: StudyRecord) -> None:
    """Replace a damaged file by one with its undamaged content, and keep a copy of it under another name.

    The new file is complete before the old one is touched: however this ends, no undamaged trial is lost.
    """
    aside, fresh = unused(path, "damaged"), path.with_name(f".{path.name}")
    placeholders = {
        trial.environment: {"lost": f"with {aside.name}"} for trial in record.every_trial if trial.environment
    }
    whole = replace(record, environments=placeholders | record.environments)
    try:
        for suffix in ("", *BESIDE):
            beside(fresh, suffix).unlink(missing_ok=True)
        texts = study_texts(record.spec, record.data, StoredPlan.of_record(record))
        with closing(SqliteStore(fresh)) as store:
            store._write(lambda connection: _set_up(store, connection, texts, whole))
        for suffix in ("", *BESIDE):
            with suppress(FileNotFoundError):
                shutil.copy2(beside(path, suffix), beside(aside, suffix))
        for suffix in BESIDE:  # a log beside the new file would be taken for its own
            beside(path, suffix).unlink(missing_ok=True)
        fresh.replace(path)
    except OSError as error:
        raise StoreError(f"cannot make a new file in the place of the damaged '{path}': {error.strerror}") from error
    finally:
        for suffix in ("", *BESIDE):
            beside(fresh, suffix).unlink(missing_ok=True)
    missing = f" without {', '.join(record.damaged)}" if record.damaged else ""
    warnings.warn(
        f"'{path}' was damaged: it is kept as '{aside.name}', and the study goes on{missing}",
        StoreWarning,
        stacklevel=3,
    )
