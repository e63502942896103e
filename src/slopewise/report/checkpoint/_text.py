"""The slopes of a checkpoint on a terminal: a table, a strip per layer, and what the alarms mean.

Words carry what colour repeats, and every sign has one in ASCII for terminals and pipes that have no other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from slopewise.drawing import count, listing, number, plain
from slopewise.recording import SlopeSummary
from slopewise.slopes import MEANINGS, AlarmKind, InspectedLayer, Inspection
from slopewise.support import printable
from slopewise.support.terminal import words

_WIDE = 104  # columns from which the quartiles, the alarms and the certainty have room in the table
_REACH = (-1.0, 2.0)  # of the strips at most: one diverged layer must not squeeze the others into a column
_LONGEST = 72  # columns of a strip
_FEW = 6  # layers that a sentence names
_ALARM = "bold red"


@dataclass(frozen=True, slots=True)
class _Signs:
    """What strips are drawn with."""

    span: str
    middle: str
    median: str
    mark: str
    lower: str
    higher: str
    cut: str


_BLOCKS = _Signs("─", "█", "◆", "┊", "◂", "▸", "…")
_ASCII = _Signs("-", "=", "O", ":", "<", ">", "~")


def print_slopes(inspection: Inspection, console: Console) -> None:
    """Print a summary line, the table, a strip per layer, and a sentence for each kind of alarm.

    Args:
        inspection: from `slopewise.slopes.inspect_slopes`.
        console: where to; from 104 columns on the table has quartiles and certainty.
    """
    layers = inspection.layers
    slopes = sum(layer.summary.count for layer in layers)
    alarming = len(inspection.alarming)
    verdict = (f"alarms in {count(alarming, 'layer')}", _ALARM) if alarming else "no alarms"
    console.print(words((f"{count(slopes, 'slope')} in {count(len(layers), 'layer')}", "bold"), ": ", verdict))
    console.print()
    console.print(_table(layers, wide=console.width >= _WIDE))
    console.print()
    signs = _signs(console.encoding)
    for line in _strips(layers, console.width, signs):
        console.print(words(line), no_wrap=True)
    console.print(
        words(f"{signs.span} all slopes, {signs.middle} middle half, {signs.median} median; {signs.mark} at 0 and 1")
    )
    console.print()
    says = Table.grid(padding=(0, 1, 0, 0))
    for note in _notes(inspection):
        says.add_row("-", words(note))
    console.print(says)


def _table(layers: Sequence[InspectedLayer], *, wide: bool) -> Table:
    """One row per layer; where that is too narrow for its alarms, they stand below it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    for name in ("slopes", "min", *(("25 %", "median", "75 %") if wide else ("median",)), "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("<0", "~0", "~1", ">1"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("alarms")
        table.add_column("found", no_wrap=True)
    for layer in layers:
        summary = layer.summary
        quartiles = (summary.lower_quartile, summary.median, summary.upper_quartile) if wide else (summary.median,)
        bands = (summary.negative, summary.near_0, summary.near_1, summary.above_1)
        remark = f"{', ' if layer.alarms else ''}{layer.remark}" if layer.remark else ""
        says = words((", ".join(map(str, layer.alarms)), _ALARM), (remark, "not bold default"))
        table.add_row(
            words(_name(layer)),
            str(summary.count),
            *(_figure(value) for value in (summary.minimum, *quartiles, summary.maximum)),
            *(str(slopes) if slopes else "" for slopes in bands),
            *((says, layer.found.certainty) if wide else ()),
        )
        if says and not wide:
            table.add_row(words("  ! ", says))
    return table


def _strips(layers: Sequence[InspectedLayer], width: int, signs: _Signs) -> Iterator[str]:
    """One line per layer: from the lowest to the highest slope, the middle half, the median."""
    summaries = [layer.summary for layer in layers if layer.summary.finite]
    low = max(min([0.0, *(summary.minimum for summary in summaries)]), _REACH[0])
    high = min(max([1.0, *(summary.maximum for summary in summaries)]), _REACH[1])
    label = min(max(len(_name(layer)) for layer in layers), width // 3)
    columns = min(width - label - 2, _LONGEST)

    def column(value: float) -> int:
        return round((min(max(value, low), high) - low) / (high - low) * (columns - 1))

    ruler = [" "] * columns
    ruler[column(0)], ruler[column(1)] = "0", "1"
    yield f"{'':{label}}  {''.join(ruler)}".rstrip()
    for layer in layers:
        name = _name(layer)
        shown = name if len(name) <= label else signs.cut + name[len(name) - label + 1 :]
        strip = [" "] * columns
        strip[column(0)] = strip[column(1)] = signs.mark
        summary = layer.summary
        if summary.finite:
            _draw(strip, summary, [column(value) for value in _five(summary)], signs)
            if summary.minimum < low:
                strip[0] = signs.lower
            if summary.maximum > high:
                strip[-1] = signs.higher
        yield f"{shown:{label}}  {''.join(strip)}".rstrip()


def _draw(strip: list[str], summary: SlopeSummary, columns: Sequence[int], signs: _Signs) -> None:
    lowest, lower, median, upper, highest = columns
    if summary.finite > 1:
        strip[lowest : highest + 1] = signs.span * (highest + 1 - lowest)
        strip[lower : upper + 1] = signs.middle * (upper + 1 - lower)
    strip[median] = signs.median


def _notes(inspection: Inspection) -> Iterator[str]:
    meant: dict[AlarmKind, list[str]] = {kind: [] for kind in MEANINGS}
    for layer in inspection.alarming:
        for alarm in layer.alarms:
            total = layer.summary.count
            some = "" if alarm.slopes == total else f" ({alarm.slopes} of {total})"
            value = "" if alarm.value is None else f" at {alarm.value:g}"
            meant[alarm.kind].append(f"{_name(layer)}{value}{some}")
    for kind, names in meant.items():
        if names:
            yield f"{kind}: {_some(names)}. {MEANINGS[kind][0].upper()}{MEANINGS[kind][1:]}."
    reasons = Counter((layer.found.certainty, layer.found.evidence) for layer in inspection.layers)
    for (certainty, evidence), layers in reasons.items():
        yield f"{count(layers, 'layer')} {certainty}: {evidence}."
    if rejected := list(inspection.rejected):
        yield f"Not taken for slopes, by their names (--also takes them): {_some(rejected)}."


def _some(names: Sequence[str]) -> str:
    return listing(names if len(names) <= _FEW else [*names[: _FEW - 1], f"{len(names) - _FEW + 1} more"])


def _signs(encoding: str) -> _Signs:
    try:
        "".join((_BLOCKS.span, _BLOCKS.middle, _BLOCKS.median, _BLOCKS.mark, _BLOCKS.cut)).encode(encoding)
    except UnicodeEncodeError:
        return _ASCII
    return _BLOCKS


def _five(summary: SlopeSummary) -> tuple[float, ...]:
    return summary.minimum, summary.lower_quartile, summary.median, summary.upper_quartile, summary.maximum


def _figure(value: float) -> str:
    return plain(number(None if math.isnan(value) else value, 3))


def _name(layer: InspectedLayer) -> str:
    return printable(layer.found.layer or layer.found.entry)
