"""The store: one SQLite file a study, written by the driver alone, each finished trial in one transaction.

Reading needs Python's own sqlite3, so that a command which only shows a study does not wait for SQLAlchemy; writing is
SQLAlchemy Core. What is SQLite's alone (locks, journals, damaged files) is in `_sqlite.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.study._store._read import FILE as FILE
from slopewise.study._store._read import holds_study as holds_study
from slopewise.study._store._read import read_counts as read_counts
from slopewise.study._store._read import read_study as read_study
from slopewise.study._store._sqlite import last_change as last_change
from slopewise.study._store._sqlite import patiently as patiently
from slopewise.study._store._stored_plan import Key as Key
from slopewise.study._store._stored_plan import StoredPlan as StoredPlan
from slopewise.study._store._stored_plan import plain as plain
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.study._store._store import Store as Store
    from slopewise.study._store._store import discard as discard

__getattr__ = importer(__name__, {"_store": ("Store", "discard")})
