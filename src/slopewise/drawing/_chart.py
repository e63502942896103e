"""Parts of every chart: a figure in the style of the page, and the table of its numbers.

Figures are laid out for narrow screens first: title, legend and the title of the y axis are in the page's HTML, and
lanes have their label above them. Data are plain lists; colours are CSS variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from slopewise.drawing._style import SeriesStyle, chart_text


@dataclass(frozen=True, slots=True)
class Chart:
    """Figure with its heading, its description and the table of its numbers.

    Attributes:
        key: Id of the chart on the page.
        title: Heading.
        label: Sentence for readers who cannot see the figure.
        figure: Figure that plotly.js draws.
        columns, rows: Table of the figure's numbers; may be empty.
    """

    key: str
    title: str
    label: str
    figure: go.Figure
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

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


def add_curve(
    figure: go.Figure,
    name: str,
    style: SeriesStyle,
    x: Sequence[float],
    y: Sequence[float],
    band: Sequence[tuple[float, float]] | None,
    hover: Sequence[str],
) -> None:
    """Add the line of a series and the band around it. The page's legend shows and hides series by `legendgroup`."""
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
    figure.add_scatter(
        x=list(x),
        y=list(y),
        name=chart_text(name),
        mode="lines+markers",
        line={"color": style.colour, "width": 2, "dash": style.dash},
        marker={"color": style.colour, "symbol": style.marker, "size": 7, "maxdisplayed": 10},
        hovertext=list(hover),
        hoverinfo="text",
        legendgroup=group,
    )


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
