"""Runs in MLflow's file store, read from its files: they are plain text, and MLflow itself takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slopewise.errors import TableError, nearest
from slopewise.support import quoted
from slopewise.tables._table import Table, table_of
from slopewise.tables.sources._base import Request, TableSource
from slopewise.tables.sources._folders import matched

_META = "meta.yaml"


class MLflowSource(TableSource):
    """Folder of MLflow's file store (`mlruns`), or of one of its experiments. Columns are params, tags and metrics."""

    title = "MLflow (its file store, mlruns)"
    folders = True

    def matches(self, path: Path) -> bool:
        return path.is_dir() and next(_runs(path), None) is not None

    def read(self, path: Path, request: Request) -> Table:
        runs = [(run, _texts(run)) for run in _runs(path)]
        if request.runs:
            fits = matched([texts["run_name"] for _, texts in runs], request.runs)
            runs = [(run, texts | fits[name]) for run, texts in runs if (name := texts["run_name"]) in fits]
        rows: list[dict[str, Any]] = []
        known: set[str] = set()
        for run, texts in runs:
            series = {file.relative_to(run / "metrics").as_posix(): file for file in _files(run / "metrics")}
            known |= series.keys()
            metrics = [key for key in request.metrics if key in series]
            rows.append({**texts, **{key: request.pick(key, _series(series[key])) for key in metrics}})
        for metric in request.metrics:
            if metric not in known:
                raise TableError(f"{path}: no run has a metric {quoted(metric)}; {nearest(metric, sorted(known))}")
        seed = "seed" if request.runs and "seed" in rows[0] else None
        places = [f"run {texts['run_name']}" for _, texts in runs]
        return table_of(path.name, rows, places, arm="arm" if request.runs else None, seed=seed)


def _texts(run: Path) -> dict[str, str]:
    """Return params and tags of a run, as "params.lr" and as "lr"; a bare name is first of all that of a param."""
    kinds = ("tags", "params")
    files = [(kind, file) for kind in kinds for file in _files(run / kind)]
    texts = {
        f"{kind}.{file.relative_to(run / kind).as_posix()}": file.read_text(encoding="utf-8").strip()
        for kind, file in files
    }
    bare = {key.partition(".")[2]: text for key, text in texts.items()}
    return {**bare, **texts, "run_name": texts.get("tags.mlflow.runName", run.name)}


def _runs(path: Path) -> Iterator[Path]:
    """Yield the folders of runs that were not deleted, in the order of their names."""
    for meta in sorted((*path.glob(f"*/{_META}"), *path.glob(f"*/*/{_META}"))):
        text = meta.read_text(encoding="utf-8")
        if "run_id:" in text and "lifecycle_stage: deleted" not in text:
            yield meta.parent


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []


def _series(file: Path) -> list[tuple[float, float]]:
    """Return the (step, value) of a metric; a line holds time, value and step, and newer versions' more."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return [(float(cells[2]) if len(cells) > 2 else 0.0, float(cells[1])) for cells in lines if len(cells) > 1]
