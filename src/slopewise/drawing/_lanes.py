"""Figures with one lane per series and its label above it: a narrow screen has no room beside it."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from slopewise.drawing._chart import base_figure


def lane_figure(labels: Sequence[str], lane: int, top: int = 8, edges: Sequence[float] = ()) -> go.Figure:
    """Return a figure with lanes from top to bottom, each with its label at its upper edge.

    Args:
        labels: Label of each lane.
        lane: Height of one unit of y, in pixels.
        top: Space above the first lane, in pixels.
        edges: Upper edge of each lane in y, then the lower edge of the last. By default lane k spans k to k + 1.
    """
    edges = edges or range(len(labels) + 1)
    figure = base_figure(height=top + 48 + round(lane * edges[-1]))
    for position, label in zip(edges, labels, strict=False):  # one edge more than lanes
        figure.add_annotation(
            text=label,
            x=0,
            xref="paper",
            xanchor="left",
            y=position,
            yshift=-6,
            yanchor="top",
            align="left",
            showarrow=False,
        )
        figure.add_hline(y=position, line={"color": "var(--line)", "width": 1})
    figure.update_layout(margin={"t": top, "l": 6})
    figure.update_yaxes(range=[edges[-1], 0], showticklabels=False, showgrid=False, ticks="")
    return figure


def spread_dots(values: Sequence[float], resolution: float, room: float) -> list[float]:
    """Return vertical offsets, up to half of `room`, that keep dots from covering each other.

    Dots cover each other if their values are less than about `resolution` apart.
    """
    stacks: dict[int, list[int]] = {}
    for index, value in enumerate(values):
        stacks.setdefault(round(value / resolution), []).append(index)
    offsets = [0.0] * len(values)
    for stack in stacks.values():
        step = min(0.07, room / max(len(stack) - 1, 1))
        for place, index in enumerate(stack):
            offsets[index] = step * (place - (len(stack) - 1) / 2)
    return offsets
