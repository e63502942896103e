"""The charts with one lane per arm: differences by seed, and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from slopewise.analysis import Analysis, Contrast
from slopewise.records import StudyRecord
from slopewise.report._chart import Chart, base_figure
from slopewise.report._format import NOTHING, VERDICT_SYMBOLS, interval, number, signed
from slopewise.report._style import arm_styles, chart_text

_LANE = 96  # pixels of an arm's lane
_STRIP = 0.2  # share of the width that is kept at an edge for seeds beyond it
COST = "seconds_per_step"


def _lane_figure(labels: Sequence[str], lane: int, top: int = 8) -> go.Figure:
    """Lanes from the top, each with its label at its upper edge; lane k spans y = k to k + 1."""
    figure = base_figure(height=top + 48 + lane * len(labels))
    for position, label in enumerate(labels):
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
    figure.update_yaxes(range=[len(labels), 0], showticklabels=False, showgrid=False)
    return figure


def _spread(values: Sequence[float], resolution: float, room: float) -> list[float]:
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


@dataclass(frozen=True, slots=True)
class _Scale:
    """The part of the axis that is drawn to scale, with a strip at an edge for what lies beyond it."""

    low: float
    high: float
    left: bool
    right: bool

    def axis(self, value: float) -> str:
        return "x2" if value < self.low else "x3" if value > self.high else "x"


def _scale(analysis: Analysis, diverged: set[tuple[str, int]]) -> _Scale:
    """As wide as the margin and the pairs in which neither arm diverged, with their intervals."""
    shown = [0.0, analysis.margin, -analysis.margin]
    for contrast in analysis.primary:
        kept = {seed for seed in contrast.seeds if not _lost(contrast, seed, diverged)}
        shown += [d for seed, d in zip(contrast.seeds, contrast.differences, strict=True) if seed in kept]
        if len(kept) == len(contrast.seeds):
            shown += contrast.interval or ()
    for contrast in analysis.converged:
        shown += contrast.interval or ()
    pad = 0.06 * (max(shown) - min(shown))
    low, high = min(shown) - pad, max(shown) + pad
    differences = [d for contrast in analysis.primary for d in contrast.differences]
    return _Scale(low, high, min(differences) < low, max(differences) > high)


def _lost(contrast: Contrast, seed: int, diverged: set[tuple[str, int]]) -> bool:
    return (contrast.arm, seed) in diverged or (contrast.control, seed) in diverged


def difference_chart(study: StudyRecord, analysis: Analysis) -> Chart | None:
    """Every seed's difference from the control, per arm, with mean and interval; None without a pair.

    A seed that diverged scores chance. Where that lies off the scale of the other seeds, it stands in a strip at
    the edge instead of squeezing them all into a line.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "prelu_shared"), seeds=4, diverged={"prelu_shared": 1})
        >>> difference_chart(study, analyse(study)).columns
        ('seed', 'prelu_shared')
    """
    contrasts = [contrast for contrast in analysis.primary if contrast.seeds]
    if not contrasts:
        return None
    diverged = {(trial.arm, trial.seed) for trial in study.trials if trial.diverged}
    scale = _scale(analysis, diverged)
    styles = arm_styles(study.arms, study.control)
    figure = _lane_figure([_difference_label(contrast) for contrast in contrasts], _LANE, top=24)
    _axes(figure, scale)
    converged = {contrast.arm: contrast for contrast in analysis.converged}
    for lane, contrast in enumerate(contrasts):
        colour = styles[contrast.arm].colour
        _ground(figure, lane, analysis.margin)
        _dots(figure, lane, contrast, scale, colour, diverged)
        _mean(figure, lane + 0.76, contrast, scale, colour, "all seeds")
        kept = converged.get(contrast.arm)
        if kept is not None and 0 < len(kept.seeds) < len(contrast.seeds):
            _mean(figure, lane + 0.9, kept, scale, colour, "converged pairs only", hollow=True)
    return Chart(
        "differences",
        f"Difference in test accuracy from {study.control}, seed by seed",
        "Dot chart, one lane per arm: the difference of every seed from the control, in points of accuracy, with "
        "the mean and its 95 % interval.",
        figure,
        ("seed", *(contrast.arm for contrast in contrasts)),
        tuple(_difference_row(seed, contrasts, diverged) for seed in study.seeds),
    )


def _difference_label(contrast: Contrast) -> str:
    words = f"{VERDICT_SYMBOLS[contrast.verdict]} {contrast.verdict}"
    lost = f" · {contrast.diverged} of {len(contrast.seeds)} diverged" if contrast.diverged else ""
    figures = f"{signed(contrast.difference, 2)} {interval(contrast.interval, 2)}"
    return f"<b>{chart_text(contrast.arm)}</b>  {words}<br>{figures}{lost}"


def _difference_row(seed: int, contrasts: Sequence[Contrast], diverged: set[tuple[str, int]]) -> tuple[str, ...]:
    cells = [str(seed)]
    for contrast in contrasts:
        value = dict(zip(contrast.seeds, contrast.differences, strict=True)).get(seed)
        cells.append(signed(value, 2) + (" (diverged)" if _lost(contrast, seed, diverged) else ""))
    return tuple(cells)


def _axes(figure: go.Figure, scale: _Scale) -> None:
    main = [_STRIP + 0.02 if scale.left else 0.0, 0.98 - _STRIP if scale.right else 1.0]
    figure.update_xaxes(range=[scale.low, scale.high], domain=main, nticks=7, title="points of accuracy")
    edge = {"range": [0, 1], "visible": False, "anchor": "y"}
    if scale.left:
        figure.update_layout(xaxis2=edge | {"domain": [0.0, _STRIP]})
    if scale.right:
        figure.update_layout(xaxis3=edge | {"domain": [1 - _STRIP, 1.0]})
    for text, x, anchor in (("◂ control better", main[0], "left"), ("arm better ▸", main[1], "right")):
        figure.add_annotation(
            text=text,
            x=x,
            xref="paper",
            xanchor=anchor,
            y=1,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            font={"color": "var(--muted)", "size": 11},
        )


def _dots(
    figure: go.Figure,
    lane: int,
    contrast: Contrast,
    scale: _Scale,
    colour: str,
    diverged: set[tuple[str, int]],
) -> None:
    """Every seed, to scale or else in a box at the edge that says how many are there."""
    places: dict[str, list[int]] = {"x": [], "x2": [], "x3": []}
    for index, difference in enumerate(contrast.differences):
        places[scale.axis(difference)].append(index)
    for axis, indices in places.items():
        if not indices:
            continue
        lost = [_lost(contrast, contrast.seeds[index], diverged) for index in indices]
        if axis == "x":
            x = [contrast.differences[index] for index in indices]
            y = [lane + 0.54 + offset for offset in _spread(x, (scale.high - scale.low) / 80, room=0.24)]
        else:
            rows = -(-len(indices) // 5)
            x = [(k // rows + 1) / (-(-len(indices) // rows) + 1) for k in range(len(indices))]
            y = [lane + 0.5 + 0.11 * (k % rows) for k in range(len(indices))]
            _off_scale(figure, lane, axis, len(indices))
        figure.add_scatter(
            x=x,
            y=y,
            xaxis=axis,
            mode="markers",
            marker={
                "color": colour,
                "symbol": ["x-thin" if each else "circle" for each in lost],
                "size": 8,
                "opacity": 0.8,
                "line": {
                    "color": [colour if each else "var(--bg)" for each in lost],
                    "width": [2 if each else 1 for each in lost],
                },
            },
            hovertext=[
                f"seed {contrast.seeds[index]}: {signed(contrast.differences[index], 2)} points<br>"
                f"arm {number(contrast.arm_values[index], 2)} %, "
                f"control {number(contrast.control_values[index], 2)} %"
                + ("<br>diverged: counts as chance" if each else "")
                for index, each in zip(indices, lost, strict=True)
            ],
            hoverinfo="text",
        )


def _ground(figure: go.Figure, lane: int, margin: float) -> None:
    """The margin band and the line of no difference, below the lane's label."""
    below = {"y0": lane + 0.4, "y1": lane + 0.99, "layer": "below"}
    figure.add_shape(type="rect", x0=-margin, x1=margin, fillcolor="var(--margin)", line_width=0, **below)
    figure.add_shape(type="line", x0=0, x1=0, line={"color": "var(--text)", "width": 1}, **below)


def _off_scale(figure: go.Figure, lane: int, axis: str, seeds: int) -> None:
    figure.add_shape(
        type="rect",
        xref=axis,
        x0=0,
        x1=1,
        y0=lane + 0.4,
        y1=lane + 0.95,
        fillcolor="var(--strip)",
        line_width=0,
        layer="below",
    )
    figure.add_annotation(
        text=f"{seeds} off scale", x=0.5, xref=axis, y=lane + 0.83, showarrow=False, font={"size": 11}
    )


def _mean(
    figure: go.Figure,
    y: float,
    contrast: Contrast,
    scale: _Scale,
    colour: str,
    which: str,
    *,
    hollow: bool = False,
) -> None:
    """The mean as a diamond on its interval; an arrow where the interval goes on beyond the scale."""
    text = f"{which}: mean {signed(contrast.difference, 2)}, 95 % interval {interval(contrast.interval, 2)}"
    common = {"mode": "markers", "hovertext": text, "hoverinfo": "text"}
    if contrast.interval:
        low, high = (min(max(end, scale.low), scale.high) for end in contrast.interval)
        figure.add_scatter(
            x=[low, high],
            y=[y, y],
            mode="lines",
            line={"color": colour, "width": 1.5 if hollow else 3},
            hoverinfo="skip",
        )
        for end, edge, symbol in (
            (contrast.interval[0], scale.low, "triangle-left"),
            (contrast.interval[1], scale.high, "triangle-right"),
        ):
            if scale.axis(end) == ("x2" if symbol == "triangle-left" else "x3"):
                figure.add_scatter(
                    x=[edge],
                    y=[y],
                    cliponaxis=False,
                    marker={"color": colour, "symbol": symbol, "size": 10},
                    **common,
                )
    if contrast.difference is not None and scale.axis(contrast.difference) == "x":
        fill = "var(--bg)" if hollow else colour
        figure.add_scatter(
            x=[contrast.difference],
            y=[y],
            marker={
                "color": fill,
                "symbol": "diamond",
                "size": 8 if hollow else 11,
                "line": {"color": colour if hollow else "var(--bg)", "width": 1.5},
            },
            **common,
        )


def cost_chart(study: StudyRecord, analysis: Analysis) -> Chart | None:
    """Time per training step relative to the control: the median as a bar, every seed as a dot."""
    ratios = {
        contrast.arm: dict(
            zip(
                contrast.seeds,
                (a / c for a, c in zip(contrast.arm_values, contrast.control_values, strict=True)),
                strict=True,
            )
        )
        for contrast in analysis.secondary
        if contrast.metric == COST and contrast.seeds
    }
    arms = [summary for summary in analysis.arms if summary.cost_ratio is not None]
    if not ratios:
        return None
    styles = arm_styles(study.arms, study.control)
    figure = _lane_figure([_cost_label(s.arm, s.cost_ratio, s.seconds_per_step) for s in arms], lane=58)
    for lane, summary in enumerate(arms):
        colour = styles[summary.arm].colour
        figure.add_shape(
            type="line", x0=1, x1=1, y0=lane + 0.45, y1=lane + 0.95, line={"color": "var(--text)", "width": 1}
        )
        figure.add_bar(
            x=[summary.cost_ratio],
            y=[lane + 0.7],
            orientation="h",
            width=0.34,
            marker={"color": colour, "opacity": 0.55, "line": {"width": 0}},
            hoverinfo="skip",
        )
        dots = ratios.get(summary.arm, {})
        figure.add_scatter(
            x=list(dots.values()),
            y=[lane + 0.7 + offset for offset in _spread(list(dots.values()), 0.02, room=0.3)],
            mode="markers",
            marker={"color": colour, "size": 6, "line": {"color": "var(--bg)", "width": 1}},
            hovertext=[f"seed {seed}: {ratio:.2f} times the control" for seed, ratio in dots.items()],
            hoverinfo="text",
        )
    figure.update_xaxes(title="seconds per step, control = 1", rangemode="tozero", nticks=7)
    return Chart(
        "cost",
        f"Time per training step relative to {study.control}",
        "Bar chart, one bar per arm: median time per training step relative to the control; a dot per seed.",
        figure,
        ("seed", *ratios),
        tuple(
            (str(seed), *(number(dots[seed], 2) if seed in dots else NOTHING for dots in ratios.values()))
            for seed in study.seeds
        ),
    )


def _cost_label(arm: str, ratio: float | None, seconds: float | None) -> str:
    step = f" · {number(1000 * seconds)} ms a step" if seconds else ""
    return f"<b>{chart_text(arm)}</b>  {number(ratio, 2)}×{step}"
