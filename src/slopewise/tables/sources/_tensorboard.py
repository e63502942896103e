"""Runs in TensorBoard's event files: a folder a run, scalars by tag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slopewise.errors import TableError, nearest
from slopewise.support import need, quoted
from slopewise.tables._table import Table, table_of
from slopewise.tables.sources._base import Request, TableSource
from slopewise.tables.sources._folders import matched

_DEFAULT = "{arm}/{seed}"


class TensorBoardSource(TableSource):
    """Folder with event files below it. Metrics are tags of scalars; the names of folders say arm and seed."""

    title = "TensorBoard (a folder with event files)"
    folders = True

    def matches(self, path: Path) -> bool:
        return path.is_dir() and next(_event_files(path), None) is not None

    def read(self, path: Path, request: Request) -> Table:
        folders = {file.parent.relative_to(path).as_posix(): file.parent for file in _event_files(path)}
        fits = matched(sorted(folders), request.runs or _DEFAULT)
        rows: list[dict[str, Any]] = []
        tags: set[str] = set()
        for name, fields in fits.items():
            series = _scalars(folders[name], request.metrics)
            tags |= series.keys()
            rows.append(fields | {tag: request.pick(tag, series[tag]) for tag in request.metrics if series.get(tag)})
        for metric in request.metrics:
            if not any(metric in row for row in rows):
                raise TableError(f"{path}: no run has a scalar {quoted(metric)}; {nearest(metric, sorted(tags))}")
        return table_of(path.name, rows, [*fits], arm="arm", seed="seed" if "seed" in rows[0] else None)


def _event_files(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*tfevents*") if file.is_file())


def _scalars(folder: Path, metrics: tuple[str, ...]) -> dict[str, list[tuple[float, float]]]:
    """Return the series of (step, value) of the metrics in a run, and an empty one for every other tag."""
    loader = need(
        "tensorboard.backend.event_processing.event_file_loader", what="reading TensorBoard folders", extra="trackers"
    )
    tensors = need("tensorboard.util.tensor_util", what="reading TensorBoard folders", extra="trackers")
    series: dict[str, list[tuple[float, float]]] = {}
    for file in sorted(folder.glob("*tfevents*")):
        # The loader turns scalars of the old kind into tensors, as TensorBoard itself shows them.
        for event in loader.EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                points = series.setdefault(value.tag, [])
                if value.tag in metrics and value.metadata.plugin_data.plugin_name in {"scalars", ""}:
                    points.append((event.step, float(tensors.make_ndarray(value.tensor).reshape(-1)[0])))
    return series
