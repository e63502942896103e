"""Reading of a study from PostgreSQL: the undamaged content, and the names of the damaged items.

Rows pass through the same digests as those of a file. Counts are made by the server, which checks its own pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import sqlalchemy as sql

from slopewise.errors import StoreError
from slopewise.records import StudyCounts, StudyRecord
from slopewise.study._store._claims import holding
from slopewise.study._store._packed import COLUMNS
from slopewise.study._store._place import Place, study_name
from slopewise.study._store._postgres import connect, in_words
from slopewise.study._store._rows import REPEAT_COLUMNS, Row, counts_of, study_in, study_of
from slopewise.study._store._tables import CLAIMS, ENVIRONMENTS, RECORDS, REPEATS, STUDY

SCHEMA = 5  # stored in the table `slopewise`
VERSION = sql.Table("slopewise", sql.MetaData(), sql.Column("schema", sql.Integer, primary_key=True))
_AT_ONCE = 200  # rows that the server sends at a time
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def holds_study(place: Place) -> bool:
    """Return True if the database holds the study."""
    with _reading(place.url) as connection:
        return version_in(connection, place.url) is not None


def read_study(place: Place) -> StudyRecord:
    """Return the study stored so far, in the plan's order; `damaged` names the items left out.

    Raises:
        StoreError: The database cannot be read, or holds no such study, or the study's spec is damaged.
    """
    with _reading(place.url) as connection:
        if version_in(connection, place.url) is None:
            _raise_missing(place)
        return study_through(connection, place)


def read_counts(place: Place) -> StudyCounts:
    """Return how many trials of each arm are finished, diverged and failed, counted by the server.

    Raises:
        StoreError: As in `read_study`.
    """
    # The text tells, since quotes inside of strings are escaped; PostgreSQL's JSON refuses the character U+0000.
    diverged = sql.func.strpos(RECORDS.c.facts, '"diverged_step":null') == 0
    finished = RECORDS.c.status == "finished"
    numbers = [
        sql.func.count().filter(which) for which in (finished, finished & diverged, RECORDS.c.status == "failed")
    ]
    with _reading(place.url) as connection:
        if version_in(connection, place.url) is None:
            _raise_missing(place)
        spec, _, plan = _study(connection, place)
        counted = {arm: rest for arm, *rest in connection.execute(sql.select(RECORDS.c.arm, *numbers).group_by("arm"))}
        claimed = connection.scalar(sql.select(sql.func.count()).select_from(CLAIMS).where(holding()))
    return counts_of(spec, plan, counted, claimed=claimed or 0)


def stored_study(place: Place) -> StudyRecord | None:
    """Return the study in the database; None if there is none yet."""
    with _reading(place.url) as connection:
        return None if version_in(connection, place.url) is None else study_through(connection, place)


def state(place: Place) -> tuple[tuple[int, int], ...]:
    """Return the time (ns) of the latest record, and numbers of rows, which change with every commit of a driver."""
    latest, records = sql.func.max(RECORDS.c.stored), sql.func.count()
    repeats = sql.select(sql.func.count()).select_from(REPEATS).scalar_subquery()
    spec = sql.select(STUDY.c.sha256).scalar_subquery()
    with _reading(place.url) as connection:
        if version_in(connection, place.url) is None:
            return ()
        time, count, repeated, digest = connection.execute(sql.select(latest, records, repeats, spec)).one()
    return (round(1e9 * time) if time else 0, count), (0, repeated), (0, int(digest, 16))


def study_through(connection: sql.Connection, place: Place) -> StudyRecord:
    """Return the study so far through a connection.

    Trials come first and the spec last, since specs, plans and environments only grow: whatever other drivers commit in
    between, each trial has what it belongs to.
    """
    rows = rows_of(connection)
    environments = _rows(connection, sql.select(*(ENVIRONMENTS.c[name] for name in ("digest", "sha256", "facts"))))
    repeats = _rows(connection, sql.select(*(REPEATS.c[name] for name in REPEAT_COLUMNS)).order_by(REPEATS.c.id))
    times = connection.execute(sql.select(sql.func.min(RECORDS.c.stored), sql.func.max(RECORDS.c.stored))).one()
    return study_of(_study(connection, place), rows, {}, environments, repeats, tuple(times))


def rows_of(connection: sql.Connection) -> list[Row]:
    """Return the rows of trials: id, cell, and the columns of `_packed.COLUMNS`."""
    return _rows(connection, sql.select(*(RECORDS.c[name] for name in ("id", "cell", *COLUMNS))).order_by(RECORDS.c.id))


def version_in(connection: sql.Connection, url: str) -> int | None:
    """Return the version of a study's tables; None if the database holds no such study.

    Raises:
        StoreError: There are tables of another version, or of something else.
    """
    name = study_name(url)
    tables = set(sql.inspect(connection).get_table_names(schema=name))
    if not tables:
        return None
    version: int | None = connection.scalar(sql.select(VERSION.c.schema)) if VERSION.name in tables else None
    if version != SCHEMA:
        what = (
            f"a study of another version of slopewise (its schema is {version}, not {SCHEMA})"
            if version
            else "other tables"
        )
        raise StoreError(f"'{url}' has {what} in the schema '{name}': give the study another name, with ?study=NAME")
    return version


def _raise_missing(place: Place) -> NoReturn:
    folder = place.folder or "FOLDER"
    raise StoreError(f"no study in '{place.url}' yet: `slopewise run --out {folder} --store '{place.url}'` makes one")


def _study(connection: sql.Connection, place: Place) -> tuple[Any, Any, Any]:
    query = sql.select(STUDY.c.sha256, STUDY.c.spec, STUDY.c.data, STUDY.c.plan)
    return study_in(_rows(connection, query), place.url)


def _rows(connection: sql.Connection, query: sql.Select[Any]) -> list[Row]:
    """Return the rows of a query, with bytes for text as in files, whose text may be damaged."""
    rows = connection.execute(query, execution_options={"yield_per": _AT_ONCE})  # texts are in memory only once
    return [tuple(value.encode() if isinstance(value, str) else value for value in row) for row in rows]


@contextmanager
def _reading(url: str) -> Iterator[sql.Connection]:
    """Yield a connection in a transaction that sees one state of the study."""
    engine = connect(url)
    try:
        with in_words(url), engine.execution_options(**_SNAPSHOT).begin() as connection:
            yield connection
    finally:
        engine.dispose()
