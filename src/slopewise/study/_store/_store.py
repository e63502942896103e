"""Writing of a store by the only driver of its study.

`study` has one row (the spec and the facts of the data), `environments` a row for each environment, `records` a row for
each trial with its facts and parts as JSON and a digest of them all. Views with the names of the records (`trials`,
`epochs`, `sites`, ...) show them field by field, for any SQLite tool.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError

from slopewise.errors import StoreError, StoreWarning
from slopewise.records import TRIAL_PARTS, StudyRecord, TrialRecord
from slopewise.study._resume import check_same
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._store import _schema1
from slopewise.study._store._packed import KEYS, encode, pack, seal
from slopewise.study._store._read import FILE, SCHEMA, holds_study, read_counts, read_study
from slopewise.study._store._sqlite import BESIDE, begin_log, beside, end_log, fault, is_sound, patiently
from slopewise.study._store._stored_plan import StoredPlan
from slopewise.support import unused

_WAIT = 1.0  # seconds that SQLite waits for a lock; Ctrl-C is handled only between waits

_metadata = sql.MetaData()
_STUDY = sql.Table(
    "study",
    _metadata,
    sql.Column("id", sql.Integer, sql.CheckConstraint("id = 1"), primary_key=True),
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Column("spec", sql.Text, nullable=False),
    sql.Column("data", sql.Text, nullable=False),
    sql.Column("plan", sql.Text, nullable=False),
)
_ENVIRONMENTS = sql.Table(
    "environments",
    _metadata,
    sql.Column("digest", sql.Text, primary_key=True),
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Column("facts", sql.Text, nullable=False),
)
_RECORDS = sql.Table(
    "records",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("arm", sql.Text, nullable=False),
    sql.Column("seed", sql.Integer, nullable=False),
    sql.Column("cell", sql.Text, nullable=False),
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Column("facts", sql.Text, nullable=False),
    *(sql.Column(name, sql.Text) for name in TRIAL_PARTS),
    sql.Index("records_trial", "arm", "seed", "cell", unique=True),
)


class Store:
    """The file of a study, open for writing; `Store.create` creates it or opens an existing one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = sql.create_engine(sql.URL.create("sqlite", database=str(path)), connect_args={"timeout": _WAIT})
        sql.event.listen(self._engine, "connect", _prepare)
        sql.event.listen(self._engine, "begin", _begin)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Return the store of a folder that holds a study, without a change to it."""
        return cls(Path(folder) / FILE)

    @classmethod
    def create(cls, folder: str | Path, spec: StudySpec, data: dict[str, Any], plan: StoredPlan | None = None) -> Store:
        """Return the store of a run: a new one, or the existing one of the same study, which may gain arms and seeds.

        A file of an older schema is rewritten. A damaged file is kept under another name, and its undamaged content is
        copied to a new one. If another program has locked the file, the call waits, and warns once.

        Args:
            folder: Folder of the study.
            spec: Spec of the study.
            data: Facts of the data.
            plan: Plan of the study; None stands for its arms and seeds without cells.

        Raises:
            StoreError: The folder cannot be written, or holds a different study; the message shows the differences.

        Warns:
            StoreWarning: The file was damaged, or is locked.
        """
        path = Path(folder) / FILE
        old = patiently(path, lambda: read_study(folder)) if holds_study(folder) else None
        if old:
            check_same(stored_spec(old.spec), spec, folder, old.primary)
            _check_data(old.data, data, folder)
            if old.damaged or not patiently(path, lambda: is_sound(path)):
                _replace(path, old)
        fields = spec.plain()
        texts = _texts(fields, data, plan or StoredPlan.of_spec(fields))  # before anything is written
        store = cls(path)
        patiently(path, lambda: begin_log(path))
        store._write(lambda connection: _set_up(connection, texts, old))
        return store

    def add(self, trial: TrialRecord, environment: dict[str, Any] | None) -> None:
        """Write one trial in one transaction; it replaces a failed one of the same arm, seed and cell.

        If another program has locked the file, the call waits, and warns once.

        Raises:
            StoreError: The trial cannot be written, for instance because the disk is full or it is stored already.

        Warns:
            StoreWarning: The file is locked.
        """
        row = pack(trial)

        def work(connection: sql.Connection) -> None:
            same = [_RECORDS.c[key] == row[key] for key in ("arm", "seed", "cell")]
            connection.execute(sql.delete(_RECORDS).where(*same, _RECORDS.c.status == "failed"))
            connection.execute(sql.insert(_RECORDS).values(row))
            if trial.environment and environment:
                _add_environment(connection, trial.environment, environment)

        self._write(work)

    def set_plan(self, plan: StoredPlan) -> None:
        """Replace the stored plan."""

        def work(connection: sql.Connection) -> None:
            spec, data = connection.execute(sql.select(_STUDY.c.spec, _STUDY.c.data)).one()
            text = encode(asdict(plan))
            connection.execute(sql.update(_STUDY).values(plan=text, sha256=seal(spec, data, text)))

        self._write(work)

    def close(self) -> None:
        """Close the file, and merge its log into it unless the file is being read."""
        self._engine.dispose()
        end_log(self.path)

    def _write(self, work: Callable[[sql.Connection], None]) -> None:
        """Do work in one transaction, repeated until no other program has the file locked."""

        def attempt() -> None:
            try:
                with self._engine.begin() as connection:
                    work(connection)
            except DBAPIError as error:
                raise StoreError(fault(self.path, error.orig)) from error.orig

        patiently(self.path, attempt)


def _prepare(connection: Any, _: Any) -> None:
    """Move the log into the file after each commit, so that the file alone holds every trial unless somebody reads."""
    connection.execute("PRAGMA wal_autocheckpoint = 1")


def _begin(connection: sql.Connection) -> None:
    """Begin a write transaction now: Python's sqlite3 would wait for the first INSERT, after a CREATE TABLE."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _texts(spec: Mapping[str, Any], data: Mapping[str, Any], plan: StoredPlan) -> dict[str, str]:
    return {"spec": encode(spec), "data": encode(data), "plan": encode(asdict(plan))}


def _set_up(connection: sql.Connection, texts: Mapping[str, str], old: StudyRecord | None) -> None:
    """Create or rewrite all tables in one transaction, so that no partial study can be left."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    here = version == SCHEMA and sql.inspect(connection).has_table("records")
    if not here:
        _drop_all(connection)
        _metadata.create_all(connection)
        for digest, facts in (old.environments if old else {}).items():
            _add_environment(connection, digest, facts)
        for trial in old.every_trial if old else ():
            connection.execute(sql.insert(_RECORDS).values(pack(trial)))
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
    for column in set(TRIAL_PARTS) - {each["name"] for each in sql.inspect(connection).get_columns("records")}:
        connection.exec_driver_sql(f"ALTER TABLE records ADD COLUMN {column} TEXT")
    for name, view in _views().items():
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        connection.exec_driver_sql(view)
    connection.execute(sql.delete(_STUDY))
    connection.execute(sql.insert(_STUDY).values(id=1, sha256=seal(*texts.values()), **texts))


def _drop_all(connection: sql.Connection) -> None:
    """Remove the tables and views of an older schema."""
    inspector = sql.inspect(connection)
    for view in inspector.get_view_names():
        connection.exec_driver_sql(f'DROP VIEW "{view}"')
    for table in set(inspector.get_table_names()) & {*_schema1.TABLES, *_metadata.tables}:
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


def _add_environment(connection: sql.Connection, digest: str, facts: Mapping[str, Any]) -> None:
    """Write the facts of an environment; rows with the same digest hold the same facts, or were lost."""
    text = encode(facts)
    connection.execute(sql.delete(_ENVIRONMENTS).where(_ENVIRONMENTS.c.digest == digest))
    connection.execute(sql.insert(_ENVIRONMENTS).values(digest=digest, sha256=seal(digest, text), facts=text))


def _check_data(old: dict[str, Any], new: dict[str, Any], folder: str | Path) -> None:
    for what, key in (("data", "digest"), ("checkpoint", "checkpoint_digest")):
        was, now = old.get(key) or "none", new.get(key) or "none"
        if was != now:
            raise StoreError(
                f"the {what} changed since '{folder}' was begun (digest {was[:12]}, now {now[:12]}): give the "
                f"old {what}, or choose another folder"
            )


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
        with closing(Store(fresh)) as store:
            store._write(
                lambda connection: _set_up(
                    connection, _texts(record.spec, record.data, StoredPlan.of_record(record)), whole
                )
            )
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


def discard(folder: str | Path) -> str | None:
    """Take the store of a study that a fault has stopped out of the way of another one.

    Returns:
        Name under which the file is kept, since it holds trials; None if it held none and is removed.
    """
    path = Path(folder) / FILE
    kept = unused(path, "stopped") if read_counts(folder).ended else None
    if kept:
        path.replace(kept)
    for suffix in ("", *BESIDE):
        beside(path, suffix).unlink(missing_ok=True)
    return kept.name if kept else None
