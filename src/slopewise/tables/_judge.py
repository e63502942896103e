"""`sw.judge`: the verdicts of a study on a table of results that exists already."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from slopewise.errors import TableError, nearest
from slopewise.records import MetricRecord
from slopewise.results import Results
from slopewise.support import quoted
from slopewise.tables._checks import check_percentages, check_shares
from slopewise.tables._frames import table_of_frame
from slopewise.tables._record import study_of
from slopewise.tables._runs import Runs, checked, long_runs, wide_runs
from slopewise.tables._table import Table
from slopewise.tables._values import to_names
from slopewise.tables._words import per_metric
from slopewise.tables.sources import Request, Take, read_table

Better = Literal["higher", "lower"]


def judge(
    table: Any,
    *,
    metric: str | Sequence[str],
    better: str | Mapping[str, Better],
    control: str,
    margin: float | None = None,
    arm: str | None = None,
    seed: str | None = None,
    arms: Sequence[str] | None = None,
    floor: float | None = None,
    missing: bool = False,
    unit: str | Mapping[str, str] | None = None,
    scale: float | str | Mapping[str, float] | None = None,
    images: int | None = None,
    title: str | None = None,
    runs: str | None = None,
    take: str = "last",
) -> Results:
    """Judge a table of results: the contrasts, verdicts, page and JSON that a study has. Nothing is stored.

    A long table has a row for each run, with its arm in the column `arm`; a wide one a row for each seed, and a column
    for each of the `arms`. With a column of seeds, arms are compared pair by pair in the seeds that both have, by the
    exact sign-flip test; without one, as runs that have nothing in common, by the exact permutation test. Give the
    column only if it pairs them: if runs of one seed had the same split, the same order of the data and, as far as the
    arms allow, the same initial weights.

    Args:
        table: Frame of pandas, polars or pyarrow, mapping from columns to their values, or the path of a CSV, Parquet
            or JSON Lines file, of a folder with TensorBoard runs, or of MLflow's file store.
        metric: Column of the metric; of several, the first is judged and the others are exploratory. In a wide table,
            the name of what its cells hold.
        better: "higher" or "lower"; of several metrics, by name ({"psnr": "higher", "loss": "lower"}, or
            "psnr=higher,loss=lower").
        control: Arm that the others are compared with.
        margin: Smallest difference in the metric that matters in practice, in `unit`. There is no default.
        arm: Column of the arms of a long table.
        seed: Column of the seeds: whole numbers, or text such as the name of a fold.
        arms: Arms to compare, by default all; of a wide table, its columns.
        floor: Value, as the table would have it, that a run without a finite value counts with: that of a model that
            knows nothing. Default None.
        missing: True to leave out runs without a finite value, because they tell nothing of the arm.
        unit: Unit of the metric times `scale`: "dB", or "points" for percentage points. By metric if a mapping.
        scale: Factor from the table to `unit`; 100 turns a fraction into percent. Default 1.
        images: Number of test images of a metric that is the share of them that are right: one of them is then the
            least spread of an interval, and "did not learn" can be told from `floor`.
        title: Title of the page. By default the metric and the table.
        runs: Pattern of the folders of TensorBoard runs, "{arm}/seed{seed}", or of the names of MLflow's.
        take: "last" or "best" value over the steps of such a run. The best of many steps is optimistic, more so for
            noisier arms: prefer the last, or the step that validation data chose.

    Raises:
        TableError: The table cannot be judged: a column, the control or the margin is missing, a run is there twice, an
            arm has one run only, a cell is no number, values are not finite and nothing says what they count with, or
            `runs` or `take` is given for what is no folder of runs.

    Example:
        >>> import pyarrow as pa
        >>> rows = [("relu", s, 31.0 + s / 50) for s in range(6)] + [("prelu", s, 31.5 + s / 40) for s in range(6)]
        >>> table = pa.Table.from_pylist([dict(zip(("activation", "seed", "psnr"), row)) for row in rows])
        >>> results = judge(table, arm="activation", seed="seed", metric="psnr", better="higher", control="relu",
        ...                 margin=0.1, unit="dB")
        >>> [(contrast.arm, contrast.verdict, round(contrast.difference, 2)) for contrast in results.contrasts()]
        [('prelu', 'helps', 0.51)]
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    if not names or len(set(names)) < len(names) or not all(names):
        raise TableError("metric: name at least one column, and each once")
    directions = _directions(better, names)
    smallest = _positive(margin)
    if smallest is None:
        given = "no margin is given" if margin is None else f"the margin must be positive, not {quoted(margin)}"
        raise TableError(
            f"{given}: choose the smallest difference in {quoted(names[0])} that would matter to you in practice, in "
            "the unit of the metric, as in --margin 0.1 (margin=0.1). A metric that slopewise does not know has no "
            "sensible default, and the spread from seed to seed is none"
        )
    if floor is not None and missing:
        raise TableError(
            "floor and missing: say either what runs without a value count with, or that they are left out"
        )
    if take not in ("last", "best"):
        raise TableError(f"take: {quoted(take)}; {nearest(take, ['last', 'best'])}")
    source = _table(table, Request(directions, runs, cast("Take", take)))
    found = checked(_runs(source, arm, seed, arms, names, control), control)
    if images:
        check_shares(found, names[0], directions[names[0]], floor, images)
    units, scales = per_metric(unit, names, "unit"), per_metric(scale, names, "scale")
    for name in names:
        if units.get(name) in ("points", "%") and name not in scales:
            check_percentages(found, name)
    metrics = [
        MetricRecord(
            name,
            name,
            str(units.get(name, "")),
            cast("Better", directions[name]),
            factor := _factor(scales.get(name, 1.0)),
            _digits(found, name, factor, smallest if name == names[0] else None),
            chance=floor if name == names[0] else None,
            span=1.0 if images and name == names[0] else None,
            per_image=bool(images) and name == names[0],
        )
        for name in names
    ]
    facts = {
        "name": source.name,
        "rows": len(source.places),
        "arm": arm or source.arm or "columns",
        "seed": seed or source.seed,
        "floor": floor,
        "test_images": images,
        "runs": runs,
        "take": take if runs else None,
    }
    return Results(
        study_of(
            found,
            metrics,
            margin=smallest,
            missing=missing,
            name=title or f"{names[0]} in {source.name}",
            facts={key: value for key, value in facts.items() if value is not None},
        )
    )


def _directions(better: str | Mapping[str, Better], names: Sequence[str]) -> dict[str, str]:
    given = per_metric(better, names, "better")
    if unsaid := [name for name in names if name not in given]:
        example = ",".join(f"{name}=..." for name in names)
        raise TableError(
            f"better: is {quoted(unsaid[0])} better higher or lower? Say it of each, higher or lower: {example}"
        )
    for name, direction in given.items():
        if direction not in ("higher", "lower"):
            raise TableError(
                f"better: {quoted(direction)} of {quoted(name)}; {nearest(str(direction), ['higher', 'lower'])}"
            )
    return {name: str(given[name]) for name in names}


def _factor(scale: object) -> float:
    factor = _positive(scale)
    if factor is None:
        raise TableError(f"scale: expected a positive number, got {quoted(scale)}")
    return factor


def _positive(value: object) -> float | None:
    """Return a value as a number; None if it is no positive, finite one."""
    try:
        number = float(cast("Any", value))
    except (TypeError, ValueError):
        return None
    return number if number > 0 and math.isfinite(number) else None


def _table(table: Any, request: Request) -> Table:
    if isinstance(table, (str, os.PathLike)):
        return read_table(Path(table), request)
    if request.of_folders:
        raise TableError("runs and take: these are for the path of a folder of runs; a table has one value a run")
    return table if isinstance(table, Table) else table_of_frame(table)


def _runs(
    table: Table,
    arm: str | None,
    seed: str | None,
    arms: Sequence[str] | None,
    names: Sequence[str],
    control: str,
) -> Runs:
    arm, seed = arm or table.arm, seed or table.seed
    if arms and control not in arms:
        known = to_names(table.column(arm), arm, table.places) if arm else table.names
        if control in known:
            raise TableError(
                f"the control {quoted(control)} is not among the arms to compare: add it, --arms "
                f"{','.join([control, *arms])} (arms={[control, *arms]})"
            )
    if arm:
        return long_runs(table, arm, seed, names, arms)
    if not arms:
        raise TableError(
            f"{table.name}: which column holds the arms (--arm), or which columns are the arms (--arms)? Its columns: "
            f"{', '.join(table.names[:20])}"
        )
    if len(names) > 1:
        raise TableError(
            "metric: a table with a column for each arm holds one metric; name its column of arms for several"
        )
    return wide_runs(table, arms, seed, names[0])


def _digits(runs: Runs, metric: str, factor: float, margin: float | None) -> int:
    """Return the decimals worth printing: those of a tenth of the margin, or four figures of the largest value."""
    if margin is None:
        known = [abs(factor * run.values[metric]) for run in runs.runs if not run.without(metric)]
        margin = max(known, default=1.0) / 100 or 1.0
    return min(max(1 - math.floor(math.log10(margin)), 0), 9)
