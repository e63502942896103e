"""Tables in CSV files: comma, semicolon or tab between cells, the names of the columns in the first line."""

from __future__ import annotations

import csv
from pathlib import Path

from slopewise.errors import TableError
from slopewise.support import quoted
from slopewise.tables._table import Table
from slopewise.tables.sources._base import Request, TableSource


class CsvSource(TableSource):
    """CSV file. Cells stay text: numbers are read where numbers are wanted, so that an arm "1.0" stays one."""

    title = "CSV (.csv, .tsv)"

    def matches(self, path: Path) -> bool:
        return path.is_file() and path.suffix.lower() in {".csv", ".tsv"}

    def read(self, path: Path, request: Request) -> Table:  # noqa: ARG002 - a file has no more than its cells
        name = path.name
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                head = file.readline()
                file.seek(0)
                reader = csv.reader(file, delimiter=_separator(head), strict=True)
                names = [cell.strip() for cell in next(reader, [])]
                rows, places = [], []
                for row in reader:
                    if any(cell.strip() for cell in row):  # editors leave empty lines at the end
                        rows.append(row)
                        places.append(f"line {reader.line_num}")
                        if len(row) != len(names):
                            raise TableError(
                                f"{name}: line {reader.line_num} has {len(row)} cells, and the first line names "
                                f"{len(names)} columns"
                            )
        except UnicodeDecodeError as error:
            raise TableError(f"{name}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
        except csv.Error as error:
            raise TableError(f"{name}: line {reader.line_num} is not CSV: {error}") from error
        if not rows:
            raise TableError(f"{name}: no rows below the names of the columns")
        if twice := [each for each in names if names.count(each) > 1]:
            raise TableError(f"{name}: two columns are named {quoted(twice[0])}; rename one")
        index = {column: number for number, column in enumerate(names)}
        return Table(name, tuple(names), lambda column: [row[index[column]] for row in rows], tuple(places))


def _separator(head: str) -> str:
    """Return the separator that the first line has most of; a comma for one column."""
    return max((",", ";", "\t"), key=head.count)
