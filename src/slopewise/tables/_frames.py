"""Frames of pandas, polars, pyarrow and others, through narwhals, and mappings of columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slopewise.errors import TableError
from slopewise.support import quoted
from slopewise.tables._table import Table


def table_of_frame(frame: Any, name: str = "table") -> Table:
    """Return a frame as a table.

    Args:
        frame: Frame of pandas, polars, pyarrow or another library that narwhals knows, or a mapping from the names of
            columns to their values.
        name: Name for messages.

    Raises:
        TableError: It is neither, is lazy, has two columns of the same name, or columns of different lengths.

    Example:
        >>> import pyarrow as pa
        >>> table_of_frame(pa.table({"arm": ["relu", "elu"], "psnr": [31.5, None]})).column("psnr")
        [31.5, None]
    """
    if isinstance(frame, Mapping):
        return _table_of_columns(frame, name)
    import narwhals.stable.v2 as nw
    from narwhals.exceptions import DuplicateError

    try:
        narrow = nw.from_native(frame, pass_through=True)
    except DuplicateError as error:  # pandas alone allows two columns of one name
        raise TableError(f"{name}: two columns are named {quoted(_twice(frame.columns))}; rename one") from error
    if isinstance(narrow, nw.LazyFrame):
        raise TableError(f"{name}: a lazy frame holds no rows yet; pass what its .collect() returns")
    if not isinstance(narrow, nw.DataFrame):
        raise TableError(
            f"{name}: expected a path, a frame of pandas, polars or pyarrow, or a mapping from columns to their "
            f"values, got {type(frame).__name__}"
        )
    if (twice := _twice(narrow.columns)) is not None:
        raise TableError(f"{name}: two columns are named {quoted(twice)}; rename one")
    columns = {str(column): column for column in narrow.columns}

    def read(column: str) -> Sequence[Any]:
        return narrow[columns[column]].to_list()

    return Table(name, tuple(columns), read, tuple(f"row {number + 1}" for number in range(len(narrow))))


def _table_of_columns(columns: Mapping[Any, Any], name: str) -> Table:
    values = {}
    for column, cells in columns.items():
        if isinstance(cells, (str, bytes)) or not isinstance(cells, Iterable):
            raise TableError(f"{name}: column {quoted(column)} must be a list of values, got {quoted(cells)}")
        values[str(column)] = list(cells)
    lengths = {column: len(cells) for column, cells in values.items()}
    if len(set(lengths.values())) > 1:
        few, many = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise TableError(
            f"{name}: columns must be of one length, but {quoted(few)} has {lengths[few]} values and {quoted(many)} "
            f"{lengths[many]}"
        )
    count = next(iter(lengths.values()), 0)
    return Table(name, tuple(values), values.__getitem__, tuple(f"row {number + 1}" for number in range(count)))


def _twice(columns: Iterable[Any]) -> str | None:
    """Return the first name that two columns have, also if one is the number 1 and the other the text "1"."""
    names = [str(column) for column in columns]
    return next((name for name in names if names.count(name) > 1), None)
