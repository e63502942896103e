"""Figures with one lane per arm, and its label above it: a narrow screen has no room beside it."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from slopewise.drawing._chart import base_figure


def lane_figure(labels: Sequence[str], lane: int, top: int = 8, edges: Sequence[float] = ()) -> go.Figure:
    """Lanes from the top, each with its label at its upper edge.

    Args:
        labels: one per lane.
        lane: pixels of a y of 1.
        top: pixels above the first lane.
        edges: y of every lane's upper edge, and of the last one's lower; by default lane k spans y = k to k + 1.
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
    """Vertical offsets that keep dots closer than `resolution` apart, within half of `room` on either side."""
    stacks: dict[int, list[int]] = {}
    for index, value in enumerate(values):
        stacks.setdefault(round(value / resolution), []).append(index)
    offsets = [0.0] * len(values)
    for stack in stacks.values():
        step = min(0.07, room / max(len(stack) - 1, 1))
        for place, index in enumerate(stack):
            offsets[index] = step * (place - (len(stack) - 1) / 2)
    return offsets
