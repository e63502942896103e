"""Tables of a store, the same in SQLite and PostgreSQL.

`study` has one row (the spec, the facts of the data, and the plan), `environments` a row for each environment,
`records` a row for each trial with its facts and parts as JSON and a digest of them all, `repeats` a row for each trial
that was trained once more, and `claims` a row for each trial that a driver works on, or has worked on. JSON is stored
as text: PostgreSQL's own JSON has no infinity.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from slopewise.records import TRIAL_PARTS

METADATA = sql.MetaData()
KEY = ("arm", "seed", "cell")


class clock(FunctionElement[float]):  # noqa: N801 - named as functions of SQL are
    """Seconds since 1970 by the clock of the store, which is the same for all its drivers."""

    type = sql.Double()
    inherit_cache = True


@compiles(clock, "sqlite")
def _clock_of_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(clock, "postgresql")
def _clock_of_postgresql(*_: Any, **__: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"  # now() is the transaction's start


STUDY = sql.Table(
    "study",
    METADATA,
    sql.Column("id", sql.Integer, sql.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Column("spec", sql.Text, nullable=False),
    sql.Column("data", sql.Text, nullable=False),
    sql.Column("plan", sql.Text, nullable=False),
)
ENVIRONMENTS = sql.Table(
    "environments",
    METADATA,
    sql.Column("digest", sql.Text, primary_key=True),
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Column("facts", sql.Text, nullable=False),
)
RECORDS = sql.Table(
    "records",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("arm", sql.Text, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("cell", sql.Text, nullable=False),
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Column("stored", sql.Double, nullable=False, server_default=clock()),
    sql.Column("facts", sql.Text, nullable=False),
    *(sql.Column(name, sql.Text) for name in TRIAL_PARTS),
    sql.Index("records_trial", *KEY, unique=True),
)
REPEATS = sql.Table(
    "repeats",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("arm", sql.Text, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("cell", sql.Text, nullable=False),
    sql.Column("record", sql.Text, nullable=False),  # digest of the second record, which is not kept
    sql.Column("equal", sql.Integer, nullable=False),
    sql.Column("same_identity", sql.Integer, nullable=False),
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Index("repeats_record", *KEY, "record", unique=True),
)
CLAIMS = sql.Table(
    "claims",
    METADATA,
    sql.Column("arm", sql.Text, primary_key=True),
    sql.Column("seed", sql.BigInteger, primary_key=True),
    sql.Column("cell", sql.Text, primary_key=True),
    sql.Column("owner", sql.Text, nullable=False),  # "" once the trial is stored
    sql.Column("fence", sql.Integer, nullable=False),  # how many owners there have been
    sql.Column("expires", sql.Double, nullable=False),
    sqlite_with_rowid=False,
)
