"""Summary of a watched run on a terminal or in a log: alarms, states of units and slopes, and the overhead."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table

from slopewise.drawing import listing, plain, shared_module
from slopewise.recording import Alarm, Recording
from slopewise.report.watch.info import WatchInfo, tables, watch_info
from slopewise.support.terminal import words

_NARROW = 76  # columns of the terminal below which tables have only their most important columns
_FEW = 6  # places of an alarm that are listed
_NOTES = 20  # notes that are shown
_ALARM = "bold red"
# Columns whose zeros are left blank, so that the other numbers stand out.
_COUNTS = {"never positive", "always positive", "zero gradient", "dead"}
# Short names of columns for narrower terminals.
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
    "vs weights": "vs\nweights",
    "from start": "from\nstart",
}
_SHORTEST = {
    name: _SHORT[name]
    for name in ("call site", "units", "zero gradient", "dead", "pass-through", "layer", "median", "from start")
}


class WatchSummary:
    """Latest state of a recording, to be printed: `str()` gives plain text, rich prints it in colour.

    Args:
        recording: Recording from `Monitor.recording` or `read_recording`.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def __str__(self) -> str:
        """Return plain text as wide as the terminal, or 100 columns wide if there is none."""
        return self.text(shutil.get_terminal_size((100, 24)).columns)

    def text(self, width: int = 100) -> str:
        r"""Return plain text of at most `width` columns.

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
        recording, header, info = self.recording, self.recording.header, watch_info(self.recording)
        name = f"{header.name}: " if header.name else ""
        yield words((f"{name}{header.model}", "bold"), f", {info.extent}")
        yield words(info.verdict, style=_ALARM if recording.alarms else "")
        if recording.end and recording.end.error:
            yield words(f"The run ended by an error: {recording.end.error}", style=_ALARM)
        if recording.alarms:
            yield words()
            yield from _alarms(info)
        for columns, rows in (info.states["Call sites"], info.states["Slopes"]):
            if rows:
                yield words()
                yield from _fitting(columns, rows, console, options.max_width)
        if not_finite := info.states["Not finite"][1]:
            yield words()
            yield words(f"Not finite: {_some([f'{where} ({what})' for where, what in not_finite])}", style=_ALARM)
        yield words()
        yield words(info.overhead)
        notes = recording.end.notes if recording.end else ()
        for note in notes[:_NOTES]:
            yield words(f"Not seen: {note}")
        if len(notes) > _NOTES:
            yield words(f"Not seen: {len(notes) - _NOTES:,} more")


def watch_summary(recording: Recording) -> WatchSummary:
    """Return the latest state of a recording, to be printed.

    Args:
        recording: Recording of a run that has ended, or of one that goes on.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> "dead-units" in str(watch_summary(synthetic_recording()))
        True
    """
    return WatchSummary(recording)


def print_recording(recording: Recording, console: Console) -> None:
    """Print the summary of a recording.

    Args:
        recording: Recording of a run that has ended, or of one that goes on.
        console: Console to print on; the wider it is, the more columns the tables have.
    """
    console.print(WatchSummary(recording))


def _alarms(info: WatchInfo) -> Iterator[RenderableType]:
    """Yield each kind of alarm with the places that raised it, followed by the advice."""
    for kind, alarms in info.alarms.items():
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
    """Yield the table with all its columns if they fit; else with fewer, below the module that all names share."""
    full = _table(columns, rows, {name: name for name in columns})
    unbounded = console.options.update_width(10_000)
    if console.measure(full, options=unbounded).maximum <= width:
        yield full
        return
    if module := shared_module([row[0] for row in rows]):
        yield words(f"In {module}")
    rows = [(row[0].removeprefix(f"{module}."), *row[1:]) for row in rows]
    names = _SHORT if width >= _NARROW else _SHORTEST
    yield _table(columns, rows, names)
    if missing := [name for name in columns if name not in names]:
        yield words(f"Wider terminals show {listing(missing)}.")


def _table(columns: Sequence[str], rows: Sequence[tables.Row], names: Mapping[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    shown = [(index, name) for index, name in enumerate(columns) if name in names]
    for index, name in shown:
        text = index == 0 or name == "activation"
        table.add_column(names[name], justify="left" if text else "right", overflow="fold", no_wrap=index > 0)
    for row in rows:
        cells = [row[0], *(plain(row[index]) for index, _ in shown[1:])]
        blank = [cell == "0" and name in _COUNTS for cell, (_, name) in zip(cells, shown, strict=True)]
        table.add_row(*(words("" if empty else cell) for cell, empty in zip(cells, blank, strict=True)))
    return table


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:_FEW], *([f"{len(names) - _FEW} more"] if len(names) > _FEW else [])])
