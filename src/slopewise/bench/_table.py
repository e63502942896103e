"""Measurements and findings on a terminal. Colour only repeats what the words say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slopewise.bench._measurement import Measurement, Unit
from slopewise.bench._targets import Finding
from slopewise.support.terminal import words

_FEW = 4  # number of cases that fit side by side


def print_measurements(measurements: Sequence[Measurement], console: Console) -> None:
    """Print one table per question: the baseline's figure, and the others' ratios to it.

    Up to four cases are shown side by side, with a row for each candidate and the interquartile range of the rounds'
    ratios. More cases get a row each.
    """
    tables: dict[tuple[object, ...], list[Measurement]] = {}
    for measurement in measurements:
        key = (measurement.question, tuple(measurement.case), tuple(measurement.values))
        tables.setdefault(key, []).append(measurement)
    for cases in tables.values():
        console.print(_beside(cases) if len(cases) <= _FEW else _under(cases))
        console.print()


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print one row per target: the best and the worst of its cases, and the number of cases in which it holds."""
    if not findings:
        return
    table = _table("target")
    for column in ("at most", "measured", "holds"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(words("worst case, [middle half of the rounds]"))
    for target, group in groupby(findings, key=lambda finding: finding.target):
        cases = sorted(group, key=lambda finding: finding.ratio.median)
        best, worst, holding = cases[0].ratio.median, cases[-1], sum(finding.holds for finding in cases)
        table.add_row(
            words(target.words),
            f"{target.at_most:.2f}",
            f"{best:.2f}" if len(cases) == 1 else f"{best:.2f} to {worst.ratio.median:.2f}",
            words(f"{holding} of {len(cases)}", style="green" if worst.holds else "red"),
            words(f"{_words(worst.case)} [{worst.ratio.low:.2f}, {worst.ratio.high:.2f}]"),
        )
    console.print(table)
    console.print()


def quantity(value: float, unit: Unit) -> str:
    """Format a figure with a suitable unit.

    Example:
        >>> quantity(0.0123, "s"), quantity(3.4e-5, "s"), quantity(2.0, "s"), quantity(2**21, "B")
        ('12.3 ms', '34 µs', '2 s', '2 MiB')
        >>> quantity(23754.0, "faults")
        '23,754'
    """
    if unit == "faults":
        return f"{value:,.0f}"
    steps = {"s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")), "B": ((2.0**20, "MiB"),)}[unit]
    scale, name = next((step for step in steps if value >= step[0]), steps[-1])
    return f"{value / scale:.3g} {name}"


def _beside(measurements: list[Measurement]) -> Table:
    table = _table(measurements[0].question)
    for measurement in measurements:
        table.add_column(words(_words(measurement.case)), justify="right")
    for name in measurements[0].values:
        table.add_row(name, *(_cell(measurement, name) for measurement in measurements))
    return table


def _under(measurements: list[Measurement]) -> Table:
    base, *others = measurements[0].values
    table = _table(measurements[0].question)
    for name in (base, *others):
        table.add_column(name, justify="right")
    for measurement in measurements:
        ratios = (f"{measurement.ratio(name).median:.2f}" for name in others)
        table.add_row(words(_words(measurement.case)), quantity(measurement.median(base), measurement.unit), *ratios)
    return table


def _cell(measurement: Measurement, name: str) -> Text:
    if name == measurement.base or measurement.unit == "faults":
        return words(quantity(measurement.median(name), measurement.unit))
    ratio = measurement.ratio(name)
    spread = f" [{ratio.low:.2f}, {ratio.high:.2f}]" if len(measurement.values[name]) > 1 else ""
    return words(f"{ratio.median:.2f}{spread}")


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(title, no_wrap=True)
    return table


def _words(case: Mapping[str, str]) -> str:
    return " ".join(case.values())
