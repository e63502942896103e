"""Tables in JSON Lines files: one object a line, whose keys are the columns."""

from __future__ import annotations

import json
from pathlib import Path

from slopewise.errors import TableError
from slopewise.tables._table import Table, table_of
from slopewise.tables.sources._base import Request, TableSource


class JsonLinesSource(TableSource):
    """JSON Lines file. A line that lacks a key holds nothing in that column."""

    title = "JSON Lines (.jsonl, .ndjson)"

    def matches(self, path: Path) -> bool:
        return path.is_file() and path.suffix.lower() in {".jsonl", ".ndjson"}

    def read(self, path: Path, request: Request) -> Table:  # noqa: ARG002 - a file has no more than its cells
        rows, places = [], []
        try:
            for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
                if line.strip():
                    rows.append(json.loads(line))
                    places.append(f"line {number}")
                    if not isinstance(rows[-1], dict):
                        raise TableError(f"{path.name}: line {number} is no JSON object with a key for each column")
        except UnicodeDecodeError as error:
            raise TableError(f"{path.name}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
        except (json.JSONDecodeError, RecursionError) as error:
            raise TableError(f"{path.name}: line {number} is not JSON: {error}") from error
        if not rows:
            raise TableError(f"{path.name}: no rows")
        return table_of(path.name, rows, places)
