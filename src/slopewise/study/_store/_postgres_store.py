"""Store of a study in PostgreSQL: a schema of its own in a database, for any number of drivers at once."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.schema import CreateSchema, DropSchema

from slopewise.errors import StoreWarning
from slopewise.records import StudyRecord
from slopewise.study._resume import check_data, check_same, united
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._store._base import LEASE, PlanOf, Store, Work, study_texts
from slopewise.study._store._patience import repeated
from slopewise.study._store._place import Place, renamed, study_name, unpoint
from slopewise.study._store._postgres import Passing, connect, in_words
from slopewise.study._store._postgres_read import SCHEMA, VERSION, read_counts, rows_of, study_through, version_in
from slopewise.study._store._rows import LOST, is_intact
from slopewise.study._store._tables import CLAIMS, KEY, METADATA, RECORDS, REPEATS, STUDY

_T = TypeVar("_T")
_KEYS = [RECORDS.c[name] for name in KEY]


class PostgresStore(Store):
    """Store of a study in a schema of a PostgreSQL database."""

    shared = True

    def __init__(self, place: Place, lease: float = LEASE) -> None:
        self.place = place
        super().__init__(connect(place.url), lease)

    @classmethod
    def opened(cls, place: Place) -> PostgresStore:
        """Return the store of a study that exists, without a change to it."""
        return cls(place)

    @classmethod
    def begun(cls, place: Place, spec: StudySpec, data: dict[str, Any], plan: PlanOf, *, lease: float) -> PostgresStore:
        """Return the store of a run.

        Drivers that begin at once do so one after the other. Damaged rows are removed, with a warning.
        """
        study_texts(spec.plain(), data, plan(spec))  # refuses what is no plain data before anything is written
        store = cls(place, lease)
        try:
            lost = store._write(lambda connection: store._set_up(connection, spec, data, plan))
        except BaseException:
            store.close()
            raise
        if lost:
            warnings.warn(
                f"'{place.url}' was damaged: the study goes on without {', '.join(lost)}", StoreWarning, stacklevel=3
            )
        return store

    @classmethod
    def discarded(cls, place: Place) -> str | None:
        """Rename the schema if it holds trials, and else drop it; while other drivers work in it, it stays as it is."""
        counts = read_counts(place)
        if counts.claimed:
            return str(place)
        name, store = study_name(place.url), cls(place)
        kept = f"{name.encode()[:40].decode(errors='ignore')}.stopped-{time.strftime('%Y%m%d-%H%M%S')}"
        with closing(store):
            store._write(
                lambda connection: _rename(connection, name, kept) if counts.ended else _drop(connection, name)
            )
        unpoint(place)
        return renamed(place.url, kept) if counts.ended else None

    def read(self) -> StudyRecord:
        """Return the study so far, once the server can be reached."""
        return self._write(lambda connection: study_through(connection, self.place))

    def _write(self, work: Work[_T]) -> _T:
        """Do work in one transaction, repeated as a whole while the server is away."""
        return repeated(
            lambda: self._attempt(work),
            Passing(self.place.url),
            f"the store '{self.place.url}' cannot be reached: waiting until its server answers again; trials that run "
            "continue, and finished ones are stored then",
        )

    def _attempt(self, work: Callable[[sql.Connection], _T]) -> _T:
        with in_words(self.place.url), self._engine.begin() as connection:
            return work(connection)

    @staticmethod
    def _insert(table: sql.Table) -> Insert:
        return insert(table)

    def _set_up(
        self, connection: sql.Connection, spec: StudySpec, data: dict[str, Any], plan: PlanOf
    ) -> tuple[str, ...]:
        """Create or extend the study under a lock of its name; return the names of damaged items."""
        name = study_name(self.place.url)
        lock = sql.func.hashtextextended(f"slopewise {name}", 0)
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(lock)))
        damaged: tuple[str, ...] = ()
        if version_in(connection, self.place.url) is None:
            if not sql.inspect(connection).has_schema(name):
                connection.execute(CreateSchema(name))
            VERSION.create(connection)
            METADATA.create_all(connection)
            connection.execute(sql.insert(VERSION).values(schema=SCHEMA))
        else:
            old = study_through(connection, self.place)
            before = stored_spec(old.spec)
            spec = united(before, spec)
            check_same(before, spec, str(self.place), old.primary)
            check_data(old.data, data, str(self.place))
            if damaged := old.damaged:
                self._repair(connection, old)
        texts = study_texts(spec.plain(), data, plan(spec))
        row = insert(STUDY).values(id=1, **texts)
        connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=texts))
        return damaged

    def _repair(self, connection: sql.Connection, old: StudyRecord) -> None:
        """Remove damaged rows, so that their trials are missing, and write placeholders for lost environments."""
        bad = [number for number, cell, *columns in rows_of(connection) if not is_intact(cell, columns)]
        for row in connection.execute(sql.delete(RECORDS).where(RECORDS.c.id.in_(bad)).returning(*_KEYS)):
            connection.execute(sql.delete(CLAIMS).where(*(CLAIMS.c[name] == row._mapping[name] for name in KEY)))
        if LOST in old.damaged:
            connection.execute(sql.delete(REPEATS))
        for trial in old.every_trial:
            if trial.environment and trial.environment not in old.environments:
                self.add_environment(connection, trial.environment, {"lost": "in the database"})


def _rename(connection: sql.Connection, name: str, new: str) -> None:
    old, new = map(connection.dialect.identifier_preparer.quote_identifier, (name, new))
    connection.exec_driver_sql(f"ALTER SCHEMA {old} RENAME TO {new}")


def _drop(connection: sql.Connection, name: str) -> None:
    connection.execute(DropSchema(name, cascade=True))
