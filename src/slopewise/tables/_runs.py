"""Runs in a table: an arm, a seed and a value of each metric, from long and from wide tables."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slopewise.errors import TableError, nearest
from slopewise.support import quoted
from slopewise.tables._table import Table
from slopewise.tables._values import rows, to_names, to_numbers, to_seeds

_MOST_ARMS, _MOST_RUNS = 100, 10_000


@dataclass(frozen=True, slots=True)
class Run:
    """Row of a long table, or cell of a wide one.

    Attributes:
        arm: Name of the arm.
        seed: Seed, or the number of the run within its arm.
        values: Value of each metric; NaN or infinite where there is none.
        place: Place in the table, for messages.
    """

    arm: str
    seed: int
    values: dict[str, float]
    place: str

    def without(self, metric: str) -> bool:
        """Return True if the run has no finite value of a metric."""
        return not math.isfinite(self.values[metric])


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of a table.

    Attributes:
        arms: Names of the arms, in the order of their first appearance.
        runs: Runs, in the table's order.
        paired: True if there is a column of seeds, which pairs the arms.
        seed_names: Names of seeds that are text: that of seed k at index k. Empty if they are numbers.
    """

    arms: tuple[str, ...]
    runs: tuple[Run, ...]
    paired: bool
    seed_names: tuple[str, ...] = ()

    def seed_name(self, seed: int) -> str:
        """Return a seed as the table has it."""
        return self.seed_names[seed] if self.seed_names else str(seed)


def long_runs(table: Table, arm: str, seed: str | None, metrics: Sequence[str], arms: Sequence[str] | None) -> Runs:
    """Return the runs of a table with one row a run.

    Args:
        table: The table.
        arm: Column of the arms.
        seed: Column of the seeds; None if runs are not paired.
        metrics: Columns of the metrics.
        arms: Arms to keep; None for all.
    """
    names = to_names(table.column(arm), arm, table.places)
    known = tuple(dict.fromkeys(names))
    if len(known) > _MOST_ARMS:
        raise TableError(
            f"column {quoted(arm)} has {len(known):,} different values; a comparison has at most {_MOST_ARMS} arms. "
            "Is it the column of the arms?"
        )
    for name in arms or ():
        if name not in known:
            raise TableError(f"no arm {quoted(name)} in column {quoted(arm)}; {nearest(name, known)}")
    seeds, seed_names = to_seeds(table.column(seed), seed, table.places) if seed else (_numbered(names), ())
    columns = {metric: to_numbers(table.column(metric), metric, table.places) for metric in metrics}
    runs = tuple(
        Run(name, number, {metric: column[index] for metric, column in columns.items()}, table.places[index])
        for index, (name, number) in enumerate(zip(names, seeds, strict=True))
        if not arms or name in arms
    )
    return Runs(tuple(name for name in known if not arms or name in arms), runs, seed is not None, seed_names)


def wide_runs(table: Table, arms: Sequence[str], seed: str | None, metric: str) -> Runs:
    """Return the runs of a table with one row a seed and one column an arm.

    Args:
        table: The table.
        arms: Columns of the arms.
        seed: Column of the seeds; None if the rows of two columns have nothing in common.
        metric: Name of the metric that the cells hold.
    """
    if len(set(arms)) < len(arms):
        raise TableError(f"arms: {quoted(next(arm for arm in arms if list(arms).count(arm) > 1))} is given twice")
    places = table.places
    seeds, seed_names = to_seeds(table.column(seed), seed, places) if seed else (list(range(len(places))), ())
    runs = tuple(
        Run(arm, number, {metric: value}, f"{place}, column {quoted(arm)}")
        for arm in arms
        for number, value, place in zip(seeds, to_numbers(table.column(arm), arm, places), places, strict=True)
    )
    return Runs(tuple(arms), runs, seed is not None, seed_names)


def checked(runs: Runs, control: str) -> Runs:
    """Return the runs with the control as first arm, or say why they cannot be compared.

    Raises:
        TableError: The control is missing, an arm has one run only, a run is there twice, there is only one arm, or no
            arm shares a seed with the control.
    """
    if control not in runs.arms:
        raise TableError(f"the control {quoted(control)} is none of the arms; {nearest(control, runs.arms)}")
    if len(runs.arms) < 2:
        raise TableError(f"there is only one arm, {quoted(control)}: a comparison needs two")
    by_arm: dict[str, dict[int, list[Run]]] = {arm: defaultdict(list) for arm in runs.arms}
    for run in runs.runs:
        by_arm[run.arm][run.seed].append(run)
    twice = [same for seeds in by_arm.values() for same in seeds.values() if len(same) > 1]
    if twice:
        named = rows(
            f"{each[0].arm}, seed {runs.seed_name(each[0].seed)} ({rows(r.place for r in each)})" for each in twice
        )
        raise TableError(
            f"one run an arm and seed is needed, but there are several of {named}: keep one of them, or leave out the "
            "column of seeds if it does not pair the arms"
        )
    for arm, seeds in by_arm.items():
        if len(seeds) == 1:
            raise TableError(
                f"arm {quoted(arm)} has one run only: a comparison needs two of each arm at the least. If it is a mean "
                "of several runs, see `slopewise means` (slopewise.analysis.judge_means)"
            )
        if len(seeds) > _MOST_RUNS:
            raise TableError(f"arm {quoted(arm)} has {len(seeds):,} runs; a comparison takes at most {_MOST_RUNS:,}")
    if runs.paired and not any(by_arm[arm].keys() & by_arm[control].keys() for arm in runs.arms if arm != control):
        raise TableError(
            f"no arm has a seed in common with the control {quoted(control)}: leave out the column of seeds to compare "
            "runs that are not paired"
        )
    return replace(runs, arms=(control, *(arm for arm in runs.arms if arm != control)))


def _numbered(names: Sequence[str]) -> list[int]:
    """Return the number of each run within its arm."""
    counts: dict[str, int] = defaultdict(int)
    numbers = []
    for name in names:
        numbers.append(counts[name])
        counts[name] += 1
    return numbers
