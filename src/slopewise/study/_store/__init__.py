"""The store of a study: a SQLite file in its folder, or a schema of a PostgreSQL database.

Each trial is stored in one transaction. Reading a file needs Python's own sqlite3, so that a command which only shows a
study does not wait for SQLAlchemy; writing, and PostgreSQL, are SQLAlchemy Core. Modules named after a database have
what is its alone; the others, from the tables in `_tables.py` to the contract in `_base.py`, serve both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.study._store._place import FILE as FILE
from slopewise.study._store._place import POINTER as POINTER
from slopewise.study._store._place import Place as Place
from slopewise.study._store._place import is_url as is_url
from slopewise.study._store._place import place_of as place_of
from slopewise.study._store._place import point as point
from slopewise.study._store._reading import holds_study as holds_study
from slopewise.study._store._reading import last_change as last_change
from slopewise.study._store._reading import read_counts as read_counts
from slopewise.study._store._reading import read_study as read_study
from slopewise.study._store._reading import stored_study as stored_study
from slopewise.study._store._stored_plan import Key as Key
from slopewise.study._store._stored_plan import StoredPlan as StoredPlan
from slopewise.study._store._stored_plan import plain as plain
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.study._store._base import Store as Store

__getattr__ = importer(__name__, {"_base": ("Store",)})
