"""The store: one SQLite file a study, written by the driver alone, each finished trial in one transaction.

Tables mirror the records field by field, so that any SQLite tool can read them: `study` (one row), `environments`,
`trials`, and below each trial `epochs`, `sites`, `gradients`, `operator_costs` and `alarms`. A kind of record, or a
field, that came later is a table or a column that older files lack: they are read as having none, and gain it when
their study goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError, OperationalError

from slopewise.errors import StoreError
from slopewise.records import TRIAL_PARTS, StudyRecord, TrialRecord
from slopewise.study._resume import check_same
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec

FILE = "study.db"
SCHEMA = 1  # stored as SQLite's user_version


class _Text(sql.types.TypeDecorator[str]):
    """Text in which half a surrogate pair, which stands for a byte of a file's name, is an escape: SQLite has none."""

    impl = sql.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sql.Dialect) -> str | None:  # noqa: ARG002
        """Return what SQLite can hold of a value."""
        return None if value is None else value.encode(errors="backslashreplace").decode()


_metadata = sql.MetaData()
_TYPES: dict[type, type[sql.types.TypeEngine[Any]]] = {int: sql.Integer, float: sql.Float, str: _Text}


def _columns(record: type, leave_out: Iterable[str] = ()) -> list[sql.Column[Any]]:
    """A column for each field of a record; a field that may be None is nullable."""
    columns = []
    for name, hint in get_type_hints(record).items():
        if name in leave_out or name.startswith("_"):
            continue
        alternatives = get_args(hint) or (hint,)
        kind = next((_TYPES[a] for a in alternatives if a in _TYPES), _Text)  # a Literal of words is text
        columns.append(sql.Column(name, kind, nullable=type(None) in alternatives))
    return columns


_STUDY = sql.Table(
    "study",
    _metadata,
    sql.Column("id", sql.Integer, sql.CheckConstraint("id = 1"), primary_key=True),
    sql.Column("spec", sql.JSON, nullable=False),
    sql.Column("data", sql.JSON, nullable=False),
)
_ENVIRONMENTS = sql.Table(
    "environments",
    _metadata,
    sql.Column("digest", sql.Text, primary_key=True),
    sql.Column("facts", sql.JSON, nullable=False),
)
_TRIALS = sql.Table(
    "trials",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    *_columns(TrialRecord, leave_out=TRIAL_PARTS),
    sql.UniqueConstraint("arm", "seed"),
)
_BELOW = {
    name: sql.Table(
        name,
        _metadata,
        sql.Column("trial", sql.ForeignKey("trials.id", ondelete="CASCADE"), nullable=False, index=True),
        *_columns(record),
    )
    for name, record in TRIAL_PARTS.items()
}


class Store:
    """The records of one study folder. Use `Store.create` for a run and `Store.open` to read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = sql.create_engine(sql.URL.create("sqlite", database=str(path)))
        sql.event.listen(self._engine, "connect", _prepare)
        sql.event.listen(self._engine, "begin", _begin)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """The store of an existing study folder.

        Raises:
            StoreError: no store is there, or it is no store of ours.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise StoreError(
                f"no study in '{folder}': '{path}' does not exist; `slopewise run --out {folder}` makes one"
            )
        store = cls(path)
        with store._errors(), store._engine.connect() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            tables = sql.inspect(connection).get_table_names()
        if "study" not in tables or version != SCHEMA:
            raise StoreError(
                f"'{path}' is not a study of this version of slopewise (its schema is {version}, not {SCHEMA}): "
                "choose another folder"
            )
        return store

    @classmethod
    def create(cls, folder: str | Path, spec: StudySpec, data: dict[str, Any]) -> Store:
        """The store of a run: a new one, or the old one of the same study, which may gain arms and seeds.

        Raises:
            StoreError: the folder cannot be written, or holds a different study; the difference is shown.
        """
        path = Path(folder) / FILE
        old = cls.holds_study(folder)
        store = cls.open(folder) if old else cls(path)
        if old:
            check_same(store.spec(), spec, folder)
            before = store._study().data
            for what, key in (("data", "digest"), ("checkpoint", "checkpoint_digest")):
                was, now = before.get(key) or "none", data.get(key) or "none"
                if was != now:
                    raise StoreError(
                        f"the {what} changed since '{folder}' was begun (digest {was[:12]}, now {now[:12]}): give the "
                        f"old {what}, or choose another folder"
                    )
        row = {"id": 1, "spec": spec.model_dump(mode="json"), "data": data}
        with store._errors(), store._engine.begin() as connection:  # one transaction: a study is there whole or not
            _metadata.create_all(connection)
            for table in (_TRIALS, *_BELOW.values()):
                for column in set(table.columns.keys()) - _present(connection, table):
                    kind = table.columns[column].type.compile(connection.dialect)
                    connection.exec_driver_sql(f'ALTER TABLE {table.name} ADD COLUMN "{column}" {kind}')
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
            connection.execute(sql.delete(_STUDY))
            connection.execute(sql.insert(_STUDY).values(row))
        return store

    @staticmethod
    def holds_study(folder: str | Path) -> bool:
        """Whether a store is there. An empty file, which SQLite leaves when it is killed at once, is none."""
        path = Path(folder) / FILE
        return path.exists() and path.stat().st_size > 0

    def spec(self) -> StudySpec:
        """What the study was asked."""
        return stored_spec(self._study().spec)

    def done(self) -> dict[tuple[str, int], str]:
        """Status by (arm, seed) of the trials that are stored."""
        with self._errors(), self._engine.connect() as connection:
            rows = connection.execute(sql.select(_TRIALS.c.arm, _TRIALS.c.seed, _TRIALS.c.status))
            return {(row.arm, row.seed): row.status for row in rows}

    def add(self, trial: TrialRecord, environment: dict[str, Any] | None) -> None:
        """Write one trial in one transaction; it replaces a failed one of the same arm and seed."""
        row = {f.name: getattr(trial, f.name) for f in fields(trial) if f.name not in TRIAL_PARTS}
        with self._errors(), self._engine.begin() as connection:
            if trial.environment and environment:
                facts = {"digest": trial.environment, "facts": environment}
                connection.execute(sql.insert(_ENVIRONMENTS).prefix_with("OR IGNORE").values(facts))
            same = (_TRIALS.c.arm == trial.arm) & (_TRIALS.c.seed == trial.seed) & (_TRIALS.c.status == "failed")
            connection.execute(sql.delete(_TRIALS).where(same))
            key = connection.execute(sql.insert(_TRIALS).values(row)).inserted_primary_key
            assert key is not None  # noqa: S101 - for the type checker; SQLite always gives one
            for name, table in _BELOW.items():
                rows = [{"trial": key[0], **_row(part)} for part in getattr(trial, name)]
                if rows:
                    connection.execute(sql.insert(table), rows)

    def read(self) -> StudyRecord:
        """The whole study, its trials in the plan's order."""
        study = self._study()
        with self._errors(), self._engine.connect() as connection:
            environments = {row.digest: row.facts for row in connection.execute(sql.select(_ENVIRONMENTS))}
            below: dict[str, dict[int, list[Any]]] = {name: {} for name in TRIAL_PARTS}
            for name in _BELOW.keys() & sql.inspect(connection).get_table_names():
                table, groups = _BELOW[name], below[name]
                rows = sql.select(*_columns_of(connection, table)).order_by(sql.text("rowid"))
                for row in connection.execute(rows).mappings():
                    values = {column: value for column, value in row.items() if column != "trial"}
                    groups.setdefault(row["trial"], []).append(TRIAL_PARTS[name](**values))
            trials = [
                _trial(row, {name: tuple(below[name].get(row["id"], ())) for name in TRIAL_PARTS})
                for row in connection.execute(sql.select(*_columns_of(connection, _TRIALS))).mappings()
            ]
        spec = stored_spec(study.spec)
        arms = tuple(arm.name for arm in spec.arms)
        trials.sort(key=lambda trial: (spec.seeds.index(trial.seed), arms.index(trial.arm)))
        return StudyRecord(
            arms=arms,
            control=spec.control,
            seeds=spec.seeds,
            margin=spec.margin,
            classes=len(study.data["classes"]),
            spec=study.spec,
            data=study.data,
            environments=environments,
            trials=tuple(trials),
        )

    def _study(self) -> sql.Row[Any]:
        with self._errors(), self._engine.connect() as connection:
            study = connection.execute(sql.select(_STUDY)).one_or_none()
        if study is None:
            raise StoreError(f"'{self.path}' names no study: it is damaged; move it away")
        return study

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's faults in plain words."""
        try:
            yield
        except OperationalError as error:
            raise StoreError(f"cannot use the store '{self.path}': {error.orig}") from error
        except DatabaseError as error:
            raise StoreError(f"'{self.path}' is not a SQLite file ({error.orig}): move it away") from error


def _present(connection: sql.Connection, table: sql.Table) -> set[str]:
    return {column["name"] for column in sql.inspect(connection).get_columns(table.name)}


def _columns_of(connection: sql.Connection, table: sql.Table) -> list[sql.Column[Any]]:
    """Those of a table that the file has, too."""
    present = _present(connection, table)
    return [column for column in table.columns if column.name in present]


def _row(part: Any) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in fields(part)}


def _trial(row: sql.RowMapping, parts: dict[str, tuple[Any, ...]]) -> TrialRecord:
    values: dict[str, Any] = {column: value for column, value in row.items() if column != "id"} | parts
    return TrialRecord(**values)


def _prepare(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: sql.Connection) -> None:
    """Begin in fact: Python's sqlite3 waits for the first INSERT, and leaves a CREATE TABLE before it outside."""
    connection.exec_driver_sql("BEGIN")
