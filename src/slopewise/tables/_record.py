"""Runs of a table as the records of a study, which analysis and views know."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slopewise.errors import TableError
from slopewise.records import MetricRecord, ScoreRecord, StudyRecord, TrialRecord
from slopewise.support import quoted
from slopewise.tables._runs import Run, Runs
from slopewise.tables._values import rows


def study_of(
    runs: Runs,
    metrics: Sequence[MetricRecord],
    *,
    margin: float,
    missing: bool,
    name: str,
    facts: Mapping[str, Any],
) -> StudyRecord:
    """Return the records of a table's runs.

    A run without a finite value of the primary metric is a trial that diverged if that has a floor, and one that
    failed, with its place as the error, if it counts as missing. In another metric its value is missing.

    Args:
        runs: Runs; the first arm is the control.
        metrics: Definitions of the metrics, the primary one first; `chance` is the floor.
        margin: Smallest difference in the primary metric that matters, in its unit.
        missing: True if values that are not finite count as missing.
        name: Title of the comparison.
        facts: Facts about the table, for the page.

    Raises:
        TableError: Values are not finite, and nothing says what they count with.
    """
    primary = metrics[0]
    _check(runs, metrics, missing=missing)
    trials = tuple(_trial(run, metrics, floor=primary.chance is not None) for run in _ordered(runs))
    return StudyRecord(
        arms=runs.arms,
        control=runs.arms[0],
        seeds=tuple(sorted({run.seed for run in runs.runs})),
        margin=margin,
        metrics=tuple(metrics),
        spec={"name": name},
        data={**facts, **({"seed_names": list(runs.seed_names)} if runs.seed_names else {})},
        trials=trials,
        margin_chosen=True,
        paired=runs.paired,
        tested=False,
    )


def _ordered(runs: Runs) -> Iterator[Run]:
    for arm in runs.arms:
        yield from (run for run in runs.runs if run.arm == arm)


def _check(runs: Runs, metrics: Sequence[MetricRecord], *, missing: bool) -> None:
    if missing or metrics[0].chance is not None:
        return
    for metric in metrics:
        if lost := [run for run in runs.runs if run.without(metric.name)]:
            named = rows(f"{run.arm}{_seed(run, runs)} ({run.place})" for run in lost)
            raise TableError(
                f"{quoted(metric.name)} is empty, NaN or infinite in {named}: say with --floor X (floor=X) the value "
                "that such runs count with, that of a model that knows nothing, or with --missing (missing=True) that "
                "they tell nothing of the arm"
            )


def _seed(run: Run, runs: Runs) -> str:
    return f" seed {runs.seed_name(run.seed)}" if runs.paired else ""


def _trial(run: Run, metrics: Sequence[MetricRecord], *, floor: bool) -> TrialRecord:
    primary = metrics[0].name
    lost = run.without(primary)
    what = f"{primary} is {_shown(run.values[primary])} ({run.place})"
    if lost and not floor:
        return TrialRecord(run.arm, run.seed, "failed", error=f"{what}: left out")
    return TrialRecord(
        run.arm,
        run.seed,
        "finished",
        diverged_cause=what if lost else None,
        scores=tuple(
            ScoreRecord(None, "test", metric.name, run.values[metric.name])
            for metric in metrics
            if not (lost and run.without(metric.name))
        ),
    )


def _shown(value: float) -> str:
    return "empty or NaN" if math.isnan(value) else str(value)
