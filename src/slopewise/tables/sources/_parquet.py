"""Tables in Parquet files."""

from __future__ import annotations

from pathlib import Path

from slopewise.errors import TableError
from slopewise.support import need
from slopewise.tables._frames import table_of_frame
from slopewise.tables._table import Table
from slopewise.tables.sources._base import Request, TableSource


class ParquetSource(TableSource):
    """Parquet file, read by pyarrow."""

    title = "Parquet (.parquet)"

    def matches(self, path: Path) -> bool:
        return path.is_file() and path.suffix.lower() in {".parquet", ".pq"}

    def read(self, path: Path, request: Request) -> Table:  # noqa: ARG002 - a file has no more than its cells
        arrow = need("pyarrow", what="Parquet", extra="parquet")
        parquet = need("pyarrow.parquet", what="Parquet", extra="parquet")
        try:
            frame = parquet.read_table(path)
        except arrow.ArrowException as error:
            raise TableError(f"{path.name}: not a Parquet file that pyarrow reads: {error}") from error
        return table_of_frame(frame, path.name)
