"""Reading of a study, wherever it is stored: the place decides which module reads."""

from __future__ import annotations

import os
from typing import Protocol

from slopewise.records import StudyCounts, StudyRecord
from slopewise.study._store import _sqlite_read
from slopewise.study._store._place import Place, place_of


class Reader(Protocol):
    """Functions that each module for reading has."""

    def holds_study(self, place: Place) -> bool: ...
    def read_study(self, place: Place) -> StudyRecord: ...
    def read_counts(self, place: Place) -> StudyCounts: ...
    def stored_study(self, place: Place) -> StudyRecord | None: ...
    def state(self, place: Place) -> tuple[tuple[int, int], ...]: ...


def holds_study(place: str | os.PathLike[str] | Place) -> bool:
    """Return True if a folder or a database holds a study; one that a driver has only begun to create is none.

    Raises:
        StoreError: The database cannot be read.
    """
    where = place_of(place)
    return _reader(where).holds_study(where)


def read_study(place: str | os.PathLike[str] | Place) -> StudyRecord:
    """Return the study stored in a place so far, in the plan's order; `damaged` names the items left out.

    Args:
        place: Folder of the study, or URL of its database. It is only read, and may be one that cannot be written.

    Raises:
        StoreError: There is no study, or the study's spec is damaged, or the store cannot be used.
    """
    where = place_of(place)
    return _reader(where).read_study(where)


def read_counts(place: str | os.PathLike[str] | Place) -> StudyCounts:
    """Return how many trials of each arm are finished, diverged and failed, counted by the database.

    Damaged trials of a file are named and count as missing; a server checks its own files.

    Raises:
        StoreError: As in `read_study`.
    """
    where = place_of(place)
    return _reader(where).read_counts(where)


def last_change(place: str | os.PathLike[str] | Place) -> tuple[tuple[int, int], ...]:
    """Return a value that changes with every commit: times (ns) with sizes or numbers of rows.

    Raises:
        OSError: There is no file.
        StoreError: The database cannot be read.
    """
    where = place_of(place)
    return _reader(where).state(where)


def stored_study(place: str | os.PathLike[str] | Place) -> StudyRecord | None:
    """Return the study in a place, once no other program has its file locked; None if there is none yet."""
    where = place_of(place)
    return _reader(where).stored_study(where)


def _reader(place: Place) -> Reader:
    if not place.url:
        return _sqlite_read
    from slopewise.study._store import _postgres_read

    return _postgres_read
