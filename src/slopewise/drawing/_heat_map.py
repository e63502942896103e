"""Heat maps of a run: a row per layer in the order of depth, a column per step, and where an alarm began.

Calm values are grey, so that colour alone says where to look: blue below, orange above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import plotly.graph_objects as go

from slopewise.drawing._chart import Chart, base_figure
from slopewise.drawing._format import NOTHING, shared_module
from slopewise.drawing._style import chart_text
from slopewise.recording import Alarm, Sample

_LOW = 15  # pixels of the lowest row
_TABLE = 7  # columns of the table, from the first step to the latest


@dataclass(frozen=True, slots=True)
class Scale:
    """Colours of values, linear between stops; two stops at one value are a sharp edge.

    Attributes:
        stops: values and the stylesheet's variables, ascending. What is beyond the ends has their colours.
        ticks: values and words on the colour bar.
        log: stops and ticks are powers of ten.
    """

    stops: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a finite value lies on the scale, to the four digits that a colour can show."""
        low, high = self.stops[0][0], self.stops[-1][0]
        if self.log:
            value = math.log10(value) if value > 0 else low
        return float(f"{min(max(value, low), high):.4g}")

    def colours(self) -> list[list[Any]]:
        """As Plotly wants them."""
        low, high = self.stops[0][0], self.stops[-1][0]
        return [[(value - low) / (high - low), f"var(--{colour})"] for value, colour in self.stops]


@dataclass(frozen=True, slots=True)
class Cell:
    """One layer at one step.

    Attributes:
        row: the layer's or call site's name.
        value: None leaves a gap; NaN and infinities are painted as such.
        text: the value for the table.
        hover: the same in words, with what belongs to it.
    """

    row: str
    value: float | None
    text: str
    hover: str


def heat_map(
    key: str,
    title: str,
    label: str,
    cells: Callable[[Sample], Iterable[Cell]],
    samples: Sequence[Sample],
    scale: Scale,
    alarms: Iterable[Alarm] = (),
) -> Chart | None:
    """The chart, with a table of a few of its columns; None where no cell has a value.

    Args:
        key: the chart's id on the page.
        title: its heading.
        label: one sentence for readers who cannot see it.
        cells: of one sample.
        samples: one a column; see `thinned`.
        scale: its colours.
        alarms: each is a mark in its row, at the step since which it is so; those elsewhere are left out.
    """
    columns = [{cell.row: cell for cell in cells(sample)} for sample in samples]
    rows = list(dict.fromkeys(row for column in columns for row in column))
    grid = [[column.get(row) for column in columns] for row in rows]
    values = [[cell.value if cell else None for cell in row] for row in grid]
    if all(value is None for row in values for value in row):
        return None
    steps = [sample.step for sample in samples]
    height = row_height(len(rows))
    common = {
        "x": steps,
        "y": list(range(len(rows))),
        "hovertext": [[f"{tail(cell.row, 50)}<br>{cell.hover}" if cell else "" for cell in row] for row in grid],
        "hovertemplate": "%{hovertext}<br>step %{x:d}<extra></extra>",
        "hoverongaps": False,
        "ygap": 1 if height > _LOW else 0,
    }
    figure = base_figure(height=100 + height * max(len(rows), 2))  # of one row the axis would lie on its title
    figure.add_heatmap(
        z=[[scale.place(value) if _finite(value) else None for value in row] for row in values],
        zmin=scale.stops[0][0],
        zmax=scale.stops[-1][0],
        colorscale=scale.colours(),
        colorbar=_bar(scale),
        **common,
    )
    lost = [[None if value is None or math.isfinite(value) else 1 for value in row] for row in values]
    if any(map(any, lost)):
        figure.add_heatmap(z=lost, colorscale=[[0, "var(--lost)"], [1, "var(--lost)"]], showscale=False, **common)
    _mark(figure, rows, steps, alarms)
    figure.update_layout(margin={"t": 44})
    figure.update_xaxes(title="step", showgrid=False, **_axis(steps))
    depth_axis(figure, rows)
    few = spaced(len(samples), _TABLE)
    return Chart(
        key,
        title,
        label,
        figure,
        ("layer", *(f"step {steps[index]}" for index in few)),
        tuple(
            (name, *(cell.text if (cell := row[k]) else NOTHING for k in few))
            for name, row in zip(rows, grid, strict=True)
        ),
    )


def row_height(rows: int) -> int:
    """Pixels: few rows are drawn higher, many still have room for their names."""
    return max(_LOW, min(30, 300 // max(rows, 1)))


def depth_axis(figure: go.Figure, rows: Sequence[str]) -> None:
    """Rows named by layers, the first at the top."""
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[chart_text(label) for label in row_labels(rows)],
        tickfont={"size": 11},
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )


def row_labels(rows: Sequence[str], longest: int = 20) -> list[str]:
    """Short names: without what all long ones begin with, and cut on the left, or else where it tells them apart.

    Example:
        >>> row_labels(["encoder.1.act", "encoder.2.act"], 10), row_labels(["a.activation", "b.activation"], 10)
        (['…1.act', '…2.act'], ['a.ac…ation', 'b.ac…ation'])
    """
    common = shared_module(rows, longest)
    short = [row.replace(f"{common}.", "…", 1) if common else row for row in rows]
    left = [row if len(row) <= longest else f"…{row[1 - longest :]}" for row in short]
    if len(set(left)) == len(left):
        return left
    begin, end = (longest - 1) // 2, longest // 2
    return [row if len(row) <= longest else f"{row[:begin]}…{row[-end:]}" for row in short]


def thinned(samples: Sequence[Sample], rows: int, keep: Iterable[int] = ()) -> Sequence[Sample]:
    """As many samples as columns can be told apart and a page can hold, evenly spaced, with the first and the last.

    Args:
        samples: all of them.
        rows: of the chart.
        keep: steps to be among them.
    """
    if len(samples) <= (most := max(40, min(120, 5000 // max(rows, 1)))):
        return samples
    kept = set(keep)
    chosen = {*spaced(len(samples), most), *(index for index, sample in enumerate(samples) if sample.step in kept)}
    return [samples[index] for index in sorted(chosen)]


def spaced(count: int, most: int) -> list[int]:
    """At most so many of the indices below `count`, evenly spaced, with the first and the last.

    Example:
        >>> spaced(11, 3), spaced(2, 3)
        ([0, 5, 10], [0, 1])
    """
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def tail(name: str, longest: int) -> str:
    """User text for Plotly, as `chart_text`, that keeps its end when it is cut: there the names of layers differ.

    Example:
        >>> tail("encoder.stages.3.act", 12)
        '…tages.3.act'
    """
    return chart_text(name if len(name) <= longest else f"…{name[1 - longest :]}", longest)


def _mark(figure: go.Figure, rows: Sequence[str], steps: Sequence[int], alarms: Iterable[Alarm]) -> None:
    """A mark where each alarm's matter began; several at one place share it."""
    place = {row: index for index, row in enumerate(rows)}
    found: dict[tuple[int, int], list[str]] = {}
    for alarm in alarms:
        if alarm.where in place:
            since = min(max(alarm.since, steps[0]), steps[-1])
            found.setdefault((since, place[alarm.where]), []).append(chart_text(str(alarm), 120))
    if found:
        figure.add_scatter(
            x=[step for step, _ in found],
            y=[row for _, row in found],
            mode="markers",
            marker={
                "symbol": "triangle-right",
                "size": 11,
                "color": "var(--text)",
                "line": {"color": "var(--bg)", "width": 1.5},
            },
            hovertext=["<br>".join(words) for words in found.values()],
            hoverinfo="text",
            cliponaxis=False,
        )


def _bar(scale: Scale) -> Mapping[str, Any]:
    """Above the map, where a narrow screen has room for it."""
    return {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "xpad": 0,
        "y": 1,
        "yanchor": "bottom",
        "ypad": 4,
        "len": 1,
        "thickness": 10,
        "outlinewidth": 0,
        "tickvals": [value for value, _ in scale.ticks],
        "ticktext": [words for _, words in scale.ticks],
        "tickangle": 0,
        "tickfont": {"size": 11},
        "ticklabelposition": "outside top",
    }


def _axis(steps: Sequence[int]) -> Mapping[str, Any]:
    """As wide as the cells, which reach half way to their neighbours; few steps would get ticks between them."""
    first, last = (steps[1] - steps[0], steps[-1] - steps[-2]) if len(steps) > 1 else (1, 1)
    ends = [steps[0] - first / 2, steps[-1] + last / 2]
    return {"range": ends, **({"tickvals": list(steps)} if len(steps) < 6 else {"nticks": 7, "tickformat": "d"})}


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
