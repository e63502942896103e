"""A watched run on a terminal or in a log: its alarms, the state of units, slopes, and what watching took."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table

from slopewise.drawing import plain, shared_module
from slopewise.recording import Alarm, Recording
from slopewise.report.watch import tables
from slopewise.support.terminal import words

_NARROW = 76  # columns of the terminal below which a table has its most telling columns only
_FEW = 6  # places that an alarm lists
_NOTES = 20  # that are shown
_ALARM = "bold red"
_COUNTS = {"never positive", "always positive", "zero gradient", "dead"}  # most are 0: blank, so that others stand out
# By the whole name of a column, its name where there is less room; those not named here are left out there.
_SHORT = {
    "call site": "call site",
    "activation": "activation",
    "units": "units",
    "positive": "z>0",
    "never positive": "never\nz>0",
    "always positive": "always\nz>0",
    "zero gradient": "zero\ngrad",
    "dead": "dead",
    "dead since step": "since",
    "pass-through": "pass",
    "layer": "layer",
    "slopes": "slopes",
    "median": "median",
    "lowest": "min",
    "highest": "max",
    "gradient SNR": "SNR",
    "update ratio": "update\nratio",
    "from start": "from\nstart",
}
_SHORTEST = {
    name: _SHORT[name]
    for name in ("call site", "units", "zero gradient", "dead", "pass-through", "layer", "median", "from start")
}


class WatchSummary:
    """The latest state of a recording, to be printed: `str()` is plain text, and rich prints it in colour.

    Args:
        recording: from `Monitor.recording` or `read_recording`.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def __str__(self) -> str:
        """As wide as the terminal; 100 columns where there is none."""
        return self.text(shutil.get_terminal_size((100, 24)).columns)

    def text(self, width: int = 100) -> str:
        r"""Plain text of at most so many columns.

        Example:
            >>> from slopewise.testing import synthetic_recording
            >>> print(*WatchSummary(synthetic_recording(layers=2)).text().splitlines()[:2], sep="\n")
            synthetic: SyntheticNet, 20 samples, one every 50 steps, of 1000 steps
            1 alarm: dead-units
        """
        stream = io.StringIO()
        print_recording(self.recording, Console(file=stream, width=width, color_system=None))
        return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        recording, header = self.recording, self.recording.header
        name = f"{header.name}: " if header.name else ""
        yield words((f"{name}{header.model}", "bold"), f", {tables.extent(recording)}")
        yield words(tables.verdict(recording), style=_ALARM if recording.alarms else "")
        if recording.end and recording.end.error:
            yield words(f"The run ended by an error: {recording.end.error}", style=_ALARM)
        if recording.alarms:
            yield words()
            yield from _alarms(recording)
        for columns, rows in (
            (tables.SITES, tables.site_rows(recording)),
            (tables.SLOPES, tables.slope_rows(recording)),
        ):
            if rows:
                yield words()
                yield from _fitting(columns, rows, console, options.max_width)
        if lost := tables.lost_rows(recording):
            yield words()
            yield words(f"Not finite: {_some([f'{where} ({what})' for where, what in lost])}", style=_ALARM)
        yield words()
        yield words(tables.overhead(recording))
        notes = recording.end.notes if recording.end else ()
        for note in notes[:_NOTES]:
            yield words(f"Not seen: {note}")
        if len(notes) > _NOTES:
            yield words(f"Not seen: {len(notes) - _NOTES:,} more")


def watch_summary(recording: Recording) -> WatchSummary:
    """The latest state of a recording as something to print.

    Args:
        recording: of a run that has ended, or so far.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> "dead-units" in str(watch_summary(synthetic_recording()))
        True
    """
    return WatchSummary(recording)


def print_recording(recording: Recording, console: Console) -> None:
    """Print the summary of a recording.

    Args:
        recording: of a run that has ended, or so far.
        console: where to; the wider, the more columns a table has.
    """
    console.print(WatchSummary(recording))


def _alarms(recording: Recording) -> Iterator[RenderableType]:
    """Each kind of alarm with the places where it was raised, and once what to do."""
    for kind, alarms in tables.by_id(recording).items():
        for alarm in alarms[:_FEW]:
            yield words("! ", (kind, _ALARM), f" at {alarm.where}{_since(alarm)}: {alarm.evidence}")
        if len(alarms) > _FEW:
            yield words(f"  and at {len(alarms) - _FEW} more")
        yield Padding(words(alarms[0].advice), (0, 0, 0, 2))


def _since(alarm: Alarm) -> str:
    return f", since step {alarm.since}" if alarm.since != alarm.step else f", step {alarm.step}"


def _fitting(
    columns: Sequence[str], rows: Sequence[tables.Row], console: Console, width: int
) -> Iterator[RenderableType]:
    """The table with all its columns where they have room; else fewer, and above it what all names begin with."""
    whole = _table(columns, rows, {name: name for name in columns})
    unbounded = console.options.update_width(10_000)
    if console.measure(whole, options=unbounded).maximum <= width:
        yield whole
        return
    if module := shared_module([row[0] for row in rows]):
        yield words(f"In {module}")
    rows = [(row[0].removeprefix(f"{module}."), *row[1:]) for row in rows]
    yield _table(columns, rows, _SHORT if width >= _NARROW else _SHORTEST)


def _table(columns: Sequence[str], rows: Sequence[tables.Row], names: Mapping[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    kept = [(index, name) for index, name in enumerate(columns) if name in names]
    for index, name in kept:
        named = index == 0 or name == "activation"
        table.add_column(names[name], justify="left" if named else "right", overflow="fold", no_wrap=index > 0)
    for row in rows:
        cells = [row[0], *(plain(row[index]) for index, _ in kept[1:])]
        blank = [cell == "0" and name in _COUNTS for cell, (_, name) in zip(cells, kept, strict=True)]
        table.add_row(*(words("" if empty else cell) for cell, empty in zip(cells, blank, strict=True)))
    return table


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:_FEW], *([f"{len(names) - _FEW} more"] if len(names) > _FEW else [])])
