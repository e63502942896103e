"""Compact records of a study: one gzipped JSON file, small enough for the repository, that a page can be made of again.

The file has every trial with its final scores, its validation scores by epoch, its slopes and units before and after
training, and its times. It lacks training curves, gradients, alarms and the epochs between.

python tools/compact_records.py STUDY studies/records/NAME.json.gz
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from slopewise import load_study
from slopewise.records import TRIAL_PARTS, CellRecord, MetricRecord, StudyRecord, TrialRecord

_KEPT = ("epochs", "sites", "operator_costs", "scores", "layer_scores")
_PLACES = {"cpu_operators", "cpu", "torch", "slopewise", "python", "threads", "platform"}  # facts of an environment


def compact(record: StudyRecord) -> dict[str, Any]:
    """Return a study as plain data, without what no claim is judged on."""
    whole = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in ("trials", "cells", "metrics")}
    whole["environments"] = {
        key: {name: value for name, value in facts.items() if name in _PLACES}
        for key, facts in record.environments.items()
    }
    cells = [{f.name: getattr(cell, f.name) for f in fields(cell) if f.name != "trials"} for cell in record.cells]
    trials = [_packed(trial, record.primary.name) for trial in record.every_trial]
    return {**whole, "metrics": [asdict(metric) for metric in record.metrics], "cells": cells, "trials": trials}


def _packed(trial: TrialRecord, primary: str) -> dict[str, Any]:
    facts = {f.name: getattr(trial, f.name) for f in fields(trial) if f.name not in TRIAL_PARTS}
    last = max((site.epoch for site in trial.sites), default=0)
    rows: dict[str, Iterable[Any]] = {
        **{name: getattr(trial, name) for name in _KEPT},
        "sites": [site for site in trial.sites if site.epoch in (0, last)],
        "scores": [
            row for row in trial.scores if row.epoch is None or (row.part == "validation" and row.metric == primary)
        ],
    }
    return {**facts, **{name: _columns(TRIAL_PARTS[name], rows[name]) for name in _KEPT}}


def _columns(record: type, rows: Iterable[Any]) -> dict[str, list[Any]]:
    rows = list(rows)
    return {f.name: [_short(getattr(row, f.name)) for row in rows] for f in fields(record)} if rows else {}


def _short(value: Any) -> Any:
    """Return a float with 7 digits, which is more than a claim can depend on."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def write(record: StudyRecord, path: Path) -> None:
    """Write the compact records of a study; the same study gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(compact(record), separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read(path: Path) -> StudyRecord:
    """Return the study of a file that `write` has made."""
    stored = json.loads(gzip.decompress(path.read_bytes()))
    trials = [_unpacked(trial) for trial in stored.pop("trials")]
    own = {(trial.arm, trial.seed, trial.cell): trial for trial in trials}
    cells = [CellRecord(**{name: _frozen(value) for name, value in cell.items()}) for cell in stored.pop("cells")]
    metrics = tuple(MetricRecord(**metric) for metric in stored.pop("metrics"))
    return StudyRecord(
        **{name: _frozen(value) for name, value in stored.items()},
        metrics=metrics,
        trials=tuple(trial for trial in trials if not trial.cell),
        cells=tuple(replace(cell, trials=_of(cell, own)) for cell in cells),
    )


def _of(cell: CellRecord, trials: Mapping[tuple[str, int, str], TrialRecord]) -> tuple[TrialRecord, ...]:
    keys = [(arm, seed, cell.key) for seed in cell.seeds for arm in cell.arms]
    return tuple(trials[key] for key in keys if key in trials)


def _unpacked(stored: dict[str, Any]) -> TrialRecord:
    parts = {
        name: tuple(record(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))
        for name, record in TRIAL_PARTS.items()
        if (columns := stored.pop(name, None))
    }
    return TrialRecord(**stored, **parts)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    write(load_study(sys.argv[1]).record, Path(sys.argv[2]))
