"""Conformance kit of table sources: the contract of `slopewise.tables.TableSource`, checked on a path of the source."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from slopewise.errors import TableError
from slopewise.tables import Request, TableSource


def check_table_source(source: TableSource, path: Path, request: Request) -> None:
    r"""Check that a source keeps its contract.

    The checks are: it matches the path, and neither an empty folder nor an empty file of an unknown kind; the table has
    a name, names of columns that are text and differ, and a place for each row; every column has a value for each row,
    the same when it is read again; the metrics of the request are columns; an unknown column is refused.

    Args:
        source: The source.
        path: File or folder that it reads.
        request: Metrics, and the pattern of runs, that the path holds.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> from slopewise.tables import CsvSource
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "results.csv")
        ...     _ = path.write_text("arm,psnr\nrelu,31.2\n")
        ...     check_table_source(CsvSource(), path, Request({"psnr": "higher"}))
    """
    assert source.title, "the source has no title, which messages list"
    assert source.matches(path), f"it does not match {path}"
    with TemporaryDirectory() as folder:
        unknown = Path(folder, "table.unknown")
        unknown.touch()
        assert not source.matches(unknown), "it matches an empty file whose name ends in .unknown"
        empty = Path(folder, "empty")
        empty.mkdir()
        assert not source.matches(empty), "it matches an empty folder"
    table, again = source.read(path, request), source.read(path, request)
    assert table.name, "the table has no name"
    assert all(isinstance(name, str) for name in table.names), "names of columns must be text"
    assert len(set(table.names)) == len(table.names), "two columns have one name"
    assert len(table.places) > 0, "the table has no rows"
    for name in table.names:
        values = table.column(name)
        assert len(values) == len(table.places), (
            f"column {name!r} has {len(values)} values for {len(table.places)} rows"
        )
        assert repr(values) == repr(again.column(name)), f"column {name!r} is another when it is read again"
    for metric in request.metrics:
        assert metric in table.names, f"metric {metric!r} of the request is no column"
    for known in (table.arm, table.seed):
        assert known is None or known in table.names, f"{known!r} holds arms or seeds, and is no column"
    try:
        table.column("no such column")
    except TableError:
        return
    raise AssertionError("an unknown column is not refused with a TableError")
