"""Sources by name, and the choice of the one that reads a path."""

from __future__ import annotations

from pathlib import Path

from slopewise.errors import TableError
from slopewise.support import Registry, quoted
from slopewise.tables._table import Table
from slopewise.tables.sources._base import Request, TableSource
from slopewise.tables.sources._csv import CsvSource
from slopewise.tables.sources._jsonl import JsonLinesSource
from slopewise.tables.sources._mlflow import MLflowSource
from slopewise.tables.sources._parquet import ParquetSource
from slopewise.tables.sources._tensorboard import TensorBoardSource

_SOURCES: Registry[TableSource] = Registry(
    "slopewise.table_sources",
    {
        "csv": CsvSource(),
        "parquet": ParquetSource(),
        "jsonl": JsonLinesSource(),
        "mlflow": MLflowSource(),  # before TensorBoard's, since its runs may hold event files as artifacts
        "tensorboard": TensorBoardSource(),
    },
)


def register_table_source(name: str, source: TableSource) -> None:
    """Add a source; the first one whose `matches` is true reads a path, slopewise's own before others.

    Raises:
        ValueError: The name is one of slopewise's own.
    """
    _SOURCES.register(name, source)


def unregister_table_source(name: str) -> None:
    """Remove a source that was registered."""
    _SOURCES.unregister(name)


def read_table(path: Path, request: Request) -> Table:
    """Return the table in a file or folder.

    Args:
        path: CSV, Parquet or JSON Lines file; folder of TensorBoard runs or MLflow's file store.
        request: Metrics and runs that are wanted of it.

    Raises:
        TableError: The path does not exist, is of no known kind, or cannot be read, or the request is for folders of
            runs, and it is none.
    """
    if not path.exists():
        raise TableError(f"{quoted(str(path))} does not exist")
    sources = [source for _, source in _SOURCES.items()]
    for source in sources:
        if source.matches(path):
            if request.of_folders and not source.folders:
                raise TableError(
                    f"runs and take: {source.title} has columns for arms and seeds, and one value a run; these options "
                    "are for folders of runs"
                )
            try:
                return source.read(path, request)
            except OSError as error:
                raise TableError(f"cannot read {quoted(str(path))}: {error.strerror or error}") from error
    kinds = ", ".join(source.title for source in sources)
    raise TableError(f"{quoted(str(path))} is no table that slopewise reads: {kinds}")
