"""Parts of every chart: a figure in the style of the page, and the table of its numbers.

Figures are laid out for narrow screens first: title and legend are in the page's HTML, the name of the y axis stands
above the axis, and lanes have their label above them. Data are plain lists; colours are CSS variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from slopewise.drawing._cells import spaced
from slopewise.drawing._style import SeriesStyle, chart_text

_MARKERS, _MARKER = 10, 7  # largest number of markers on a line, and their size in pixels


@dataclass(frozen=True, slots=True)
class Chart:
    """Figure with its heading, its description and the table of its numbers.

    Attributes:
        key: Id of the chart on the page.
        title: Heading.
        label: Sentence for readers who cannot see the figure.
        figure: Figure that plotly.js draws.
        columns, rows: Table of the figure's numbers; may be empty.
        note: Sentence below the figure about what it cannot show, such as arms that lie on each other.
    """

    key: str
    title: str
    label: str
    figure: go.Figure
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""

    def keep_view(self) -> None:
        """Let the figure keep the part that its reader has zoomed to when an open page draws it anew."""
        self.figure.layout.uirevision = self.key


def base_figure(height: int = 320) -> go.Figure:
    """Return an empty figure in the style of the page."""
    axis = {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "tickcolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
    }
    return go.Figure(
        layout={
            "template": {},  # Plotly's default template would override parts of this style
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "font": {"family": "var(--font)", "size": 12, "color": "var(--text)"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "hovermode": "closest",
            "dragmode": False,
            "hoverlabel": {
                "bgcolor": "var(--surface)",
                "bordercolor": "var(--line)",
                "font": {"color": "var(--text)"},
            },
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def name_y(figure: go.Figure, name: str) -> None:
    """Write the name of the y axis above it: turned by 90 degrees it would take a tenth of a narrow screen's width."""
    figure.add_annotation(
        text=chart_text(name, 50),
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref="paper",
        yanchor="bottom",
        showarrow=False,
        font={"color": "var(--muted)", "size": 11},
    )
    figure.update_layout(margin={"t": 26})


def add_curve(
    figure: go.Figure,
    name: str,
    style: SeriesStyle,
    x: Sequence[float],
    y: Sequence[float],
    band: Sequence[tuple[float, float]] | None,
    hover: Sequence[str],
    turn: tuple[int, int] = (0, 1),
) -> None:
    """Add the line of a series and the band around it. The page's legend shows and hides series by `legendgroup`.

    Args:
        figure: Figure to draw in.
        name: Name of the series.
        style: Style of the series.
        x: Positions of the points.
        y: Values at the points.
        band: Lower and upper end of the band at each point, drawn with their edges, since fills that overlap mix.
        hover: Text of each point's label.
        turn: Place of this series among those with the same line, and their number: they share the line's markers.
    """
    group = str(style.number)
    if band:
        figure.add_scatter(
            x=[*x, *reversed(x)],
            y=[*(high for _, high in band), *(low for low, _ in reversed(band))],
            fill="toself",
            fillcolor=style.colour,
            opacity=0.18,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            legendgroup=group,
        )
        for edge in zip(*band, strict=True):
            figure.add_scatter(
                x=list(x),
                y=list(edge),
                line={"color": style.colour, "width": 1, "dash": style.dash},
                opacity=0.6,
                mode="lines",
                hoverinfo="skip",
                legendgroup=group,
            )
    place, sharing = turn
    marked = {*spaced(len(x), max(_MARKERS, sharing))[place::sharing]}
    sizes = [_MARKER if k in marked else 0 for k in range(len(x))]
    figure.add_scatter(
        x=list(x),
        y=list(y),
        name=chart_text(name),
        mode="lines+markers",
        line={"color": style.colour, "width": 2, "dash": style.dash},
        marker={"color": style.colour, "symbol": style.marker, "size": sizes},
        hovertext=list(hover),
        hoverinfo="text",
        legendgroup=group,
    )


def turns(lines: Mapping[str, Sequence[float]]) -> dict[str, tuple[int, int]]:
    """Return the `turn` of each series for `add_curve`: its place among those with the same values, and their number.

    Example:
        >>> turns({"relu": [1.0, 2.0], "elu": [0.0, 0.0], "silu": [0.0, 0.0]})
        {'relu': (0, 1), 'elu': (0, 2), 'silu': (1, 2)}
    """
    alike: dict[tuple[float, ...], list[str]] = {}
    for name, values in lines.items():
        alike.setdefault(tuple(values), []).append(name)
    groups = {name: alike[tuple(values)] for name, values in lines.items()}
    return {name: (names.index(name), len(names)) for name, names in groups.items()}


def log_ticks(values: Iterable[float]) -> dict[str, Any]:
    """Return the layout of a logarithmic axis with round ticks, as coarse as gives at least three in the values' range.

    Example:
        >>> log_ticks([0.3, 4.0])["ticktext"]
        ['0.5', '1', '2']
    """
    shown = [value for value in values if value > 0] or [1.0]
    low, high = 0.95 * min(shown), 1.05 * max(shown)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for digits in ((1,), (1, 2, 5), (1, 2, 3, 4, 6, 8), tuple(tenth / 10 for tenth in range(10, 100, 2))):
        ticks = (digit * 10.0**power for power in powers for digit in digits)
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            break
    if not inside:
        return {"type": "log", "nticks": 5}
    shown = inside[:: math.ceil(len(inside) / 8) or 1]
    return {"type": "log", "tickvals": shown, "ticktext": [f"{tick:.6g}" for tick in shown], "tickangle": 0}
