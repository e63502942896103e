"""Slopes of a checkpoint on a terminal: a table, a strip per layer, and the meaning of the alarms.

Colour only repeats words, and every sign has a form in ASCII for terminals and pipes that have no other.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from slopewise.drawing import signs_in, strip_lines
from slopewise.report.checkpoint._info import LayerRow, slopes_info
from slopewise.slopes import Inspection
from slopewise.support.terminal import words

_WIDE = 104  # columns from which on the table has quartiles, alarms and certainty
_REACH = (-1.0, 2.0)  # widest scale of the strips
_ALARM = "bold red"


def print_slopes(inspection: Inspection, console: Console) -> None:
    """Print a summary line, the table, a strip per layer, and a sentence for each kind of alarm.

    Args:
        inspection: Inspection from `slopewise.slopes.inspect_slopes`.
        console: Console to print on. From 104 columns on the table has quartiles and certainty.
    """
    info = slopes_info(inspection)
    console.print(words((info.size, "bold"), ": ", (info.verdict, _ALARM) if info.alarming else info.verdict))
    console.print()
    console.print(_table(info.rows, wide=console.width >= _WIDE))
    console.print()
    signs = signs_in(console.encoding)
    for line in strip_lines(info.strips, console.width, signs, _REACH):
        console.print(words(line), no_wrap=True)
    console.print(
        words(f"{signs.span} all slopes, {signs.middle} middle half, {signs.median} median; {signs.mark} at 0 and 1")
    )
    console.print()
    sentences = Table.grid(padding=(0, 1, 0, 0))
    for note in info.notes:
        sentences.add_row("-", words(note))
    console.print(sentences)


def _table(rows: Sequence[LayerRow], *, wide: bool) -> Table:
    """Return the table, one row per layer; without room for alarms, they get a row of their own."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    for name in ("slopes", "min", *(("25 %", "median", "75 %") if wide else ("median",)), "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("<0", "~0", "~1", ">1"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("alarms")
        table.add_column("found", no_wrap=True)
    for row in rows:
        quartiles = (row.lower_quartile, row.median, row.upper_quartile) if wide else (row.median,)
        remark = f"{', ' if row.alarms else ''}{row.remark}" if row.remark else ""
        alarms = words((row.alarms, _ALARM), (remark, "not bold default"))
        table.add_row(
            words(row.layer),
            row.slopes,
            row.minimum,
            *quartiles,
            row.maximum,
            *row.bands,
            *((alarms, row.certainty) if wide else ()),
        )
        if alarms and not wide:
            table.add_row(words("  ! ", alarms))
    return table
