"""A table as plain columns, whatever it was read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slopewise.errors import TableError, nearest
from slopewise.support import quoted


@dataclass(frozen=True)
class Table:
    """Columns of plain values, one value a row.

    Attributes:
        name: Name for messages and pages: of the file or folder, or "table" for a frame.
        names: Names of the columns.
        read: Function from the name of a column to its values: numbers, text, None, or what a frame holds.
        places: Place of each row as messages name it: "row 1", "line 2", the folder of a run.
        arm, seed: Columns that hold arms and seeds, where the source itself knows them; None for tables.

    Example:
        >>> columns = {"arm": ["relu", "elu"], "psnr": [31.5, 31.9]}
        >>> table = Table("results", tuple(columns), columns.__getitem__, ("row 1", "row 2"))
        >>> table.column("psnr")
        [31.5, 31.9]
    """

    name: str
    names: tuple[str, ...]
    read: Callable[[str], Sequence[Any]]
    places: tuple[str, ...]
    arm: str | None = None
    seed: str | None = None

    def column(self, name: str) -> list[Any]:
        """Return the values of a column.

        Raises:
            TableError: There is no such column.
        """
        if name not in self.names:
            raise TableError(f"{self.name}: no column {quoted(name)}; {nearest(name, self.names)}")
        return list(self.read(name))


def table_of(name: str, rows: Sequence[dict[str, Any]], places: Sequence[str], **known: str | None) -> Table:
    """Return a table of rows by column; a row that lacks a column holds None there."""
    names = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(name, names, lambda column: [row.get(column) for row in rows], tuple(places), **known)
