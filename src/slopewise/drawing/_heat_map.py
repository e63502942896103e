"""Heat maps over training (a row per layer, a column per step) or over two settings, with marks on the cells.

Over training, unremarkable values are grey, so that colour alone shows where to look: blue below, orange above.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import plotly.graph_objects as go

from slopewise.drawing._cells import Cell, Grid, Mark, spaced
from slopewise.drawing._chart import Chart, base_figure
from slopewise.drawing._format import NOTHING, shared_module
from slopewise.drawing._style import chart_text

_LOW = 15  # pixels of the lowest row
_LABELLED = 40  # height in pixels of rows with labels, which may have two lines
_TABLE = 7  # columns of the table, from the first step to the latest


@dataclass(frozen=True, slots=True)
class Scale:
    """Colours of values, linear between stops; two stops at one value are a sharp edge.

    Attributes:
        stops: Values in ascending order, with the stylesheet's variables. Values beyond the ends get the end colours.
        ticks: Values and labels on the colour bar.
        log: True if stops and ticks are powers of ten.
    """

    stops: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return the position of a finite value on the scale, to four digits: a colour shows no more."""
        low, high = self.stops[0][0], self.stops[-1][0]
        if self.log:
            value = math.log10(value) if value > 0 else low
        return float(f"{min(max(value, low), high):.4g}")

    def colours(self) -> list[list[Any]]:
        """Return the stops in the form that Plotly takes."""
        low, high = self.stops[0][0], self.stops[-1][0]
        return [[(value - low) / (high - low), f"var(--{colour})"] for value, colour in self.stops]


def heat_map(
    key: str,
    title: str,
    label: str,
    cells: Mapping[int, Iterable[Cell]],
    scale: Scale,
    marks: Iterable[Mark] = (),
    grid: Grid | None = None,
) -> Chart | None:
    """Return the chart with a table of a few steps, or of all named columns; None if no cell has a value.

    Args:
        key: Id of the chart on the page.
        title: Heading of the chart.
        label: Sentence for readers who cannot see the chart.
        cells: Cells of each column by step, ascending; for named columns, by position (0, 1, ...).
        scale: Colours of the values.
        marks: Marks. Those in rows that the map does not have are left out; those at steps beyond its ends are drawn
            at the end.
        grid: Meaning of rows and columns; None stands for layers and steps.
    """
    meaning = grid or Grid()
    columns = [{cell.row: cell for cell in column} for column in cells.values()]
    rows = list(dict.fromkeys(row for column in columns for row in column))
    table = [[column.get(row) for column in columns] for row in rows]
    values = [[cell.value if cell else None for cell in row] for row in table]
    if all(value is None for row in values for value in row):
        return None
    steps = list(cells)
    labels = [[cell.label if cell else "" for cell in row] for row in table]
    labelled = any(map(any, labels))
    height = _LABELLED if labelled else row_height(len(rows))
    at = "<br>" + (f"{meaning.columns} %{{x:d}}" if not meaning.names else f"{meaning.columns} %{{customdata}}")
    common = {
        "x": steps,
        "y": list(range(len(rows))),
        "hovertext": [[f"{tail(cell.row, 50)}<br>{cell.hover}" if cell else "" for cell in row] for row in table],
        "hovertemplate": f"%{{hovertext}}{at}<extra></extra>",
        "hoverongaps": False,
        "ygap": 1 if height > _LOW else 0,
        **({"customdata": [list(meaning.names)] * len(rows), "xgap": 1} if meaning.names else {}),
        **({"texttemplate": "%{text}"} if labelled else {}),
    }
    figure = base_figure(height=100 + height * max(len(rows), 2))  # with one row, the axis would overlap its title
    figure.add_heatmap(
        z=[[scale.place(value) if _finite(value) else None for value in row] for row in values],
        text=_where(labels, values, finite=True) if labelled else None,
        zmin=scale.stops[0][0],
        zmax=scale.stops[-1][0],
        colorscale=scale.colours(),
        colorbar=_bar(scale),
        **common,
    )
    not_finite = [[None if value is None or math.isfinite(value) else 1 for value in row] for row in values]
    if any(map(any, not_finite)):
        figure.add_heatmap(
            z=not_finite,
            text=_where(labels, values, finite=False) if labelled else None,
            colorscale=[[0, "var(--lost)"], [1, "var(--lost)"]],
            showscale=False,
            **common,
        )
    _draw_marks(figure, rows, steps, marks)
    figure.update_layout(margin={"t": 44})
    figure.update_xaxes(title=meaning.columns, showgrid=False, **_axis(steps, meaning.names))
    depth_axis(figure, rows)
    figure.update_yaxes(title=meaning.rows, title_standoff=6)
    few = range(len(steps)) if meaning.names else spaced(len(steps), _TABLE)
    return Chart(
        key,
        title,
        label,
        figure,
        (meaning.rows, *(f"{meaning.columns} {meaning.names[k] if meaning.names else steps[k]}" for k in few)),
        tuple(
            (name, *(cell.text if (cell := row[k]) else NOTHING for k in few))
            for name, row in zip(rows, table, strict=True)
        ),
    )


def _where(
    labels: Sequence[Sequence[str]], values: Sequence[Sequence[float | None]], *, finite: bool
) -> list[list[str]]:
    """Return the labels of the cells with finite values, or of the others: each kind is drawn as a layer of its own."""
    return [
        [label if _finite(value) is finite else "" for label, value in zip(row, numbers, strict=True)]
        for row, numbers in zip(labels, values, strict=True)
    ]


def row_height(rows: int) -> int:
    """Return the height of a row in pixels: few rows are drawn higher, many still have room for their names."""
    return max(_LOW, min(30, 300 // max(rows, 1)))


def depth_axis(figure: go.Figure, rows: Sequence[str]) -> None:
    """Label the rows with their names, the first at the top."""
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[chart_text(label) for label in row_labels(rows)],
        tickfont={"size": 11},
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )


def row_labels(rows: Sequence[str], longest: int = 20) -> list[str]:
    """Return short names: without a shared module, cut on the left or, if that makes two equal, in the middle.

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


def tail(name: str, longest: int) -> str:
    """Return user text for Plotly, as `chart_text` does, but cut at its start: names of layers differ at their end.

    Example:
        >>> tail("encoder.stages.3.act", 12)
        '…tages.3.act'
    """
    return chart_text(name if len(name) <= longest else f"…{name[1 - longest :]}", longest)


def _draw_marks(figure: go.Figure, rows: Sequence[str], steps: Sequence[int], marks: Iterable[Mark]) -> None:
    """Draw a triangle on each marked cell; several marks on one cell share it."""
    row_index = {row: index for index, row in enumerate(rows)}
    texts: dict[tuple[int, int], list[str]] = {}
    for mark in marks:
        if mark.row in row_index:
            step = min(max(mark.step, steps[0]), steps[-1])
            texts.setdefault((step, row_index[mark.row]), []).append(chart_text(mark.text, 120))
    if texts:
        figure.add_scatter(
            x=[step for step, _ in texts],
            y=[row for _, row in texts],
            mode="markers",
            marker={
                "symbol": "triangle-right",
                "size": 11,
                "color": "var(--text)",
                "line": {"color": "var(--bg)", "width": 1.5},
            },
            hovertext=["<br>".join(lines) for lines in texts.values()],
            hoverinfo="text",
            cliponaxis=False,
        )


def _bar(scale: Scale) -> Mapping[str, Any]:
    """Return the layout of the colour bar: above the map, where a narrow screen has room for it."""
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


def _axis(steps: Sequence[int], names: Sequence[str]) -> Mapping[str, Any]:
    """Return the range and the ticks of the x axis.

    Cells reach half way to their neighbours. Few steps are ticked one by one: Plotly would put ticks between them.
    """
    if names:
        ticks = [chart_text(name) for name in names]
        return {"range": [-0.5, len(names) - 0.5], "tickvals": list(steps), "ticktext": ticks, "tickangle": 0}
    first, last = (steps[1] - steps[0], steps[-1] - steps[-2]) if len(steps) > 1 else (1, 1)
    ends = [steps[0] - first / 2, steps[-1] + last / 2]
    return {"range": ends, **({"tickvals": list(steps)} if len(steps) < 6 else {"nticks": 7, "tickformat": "d"})}


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
