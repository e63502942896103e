"""The chart of every seed's difference from the control."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from slopewise.analysis import Analysis, Contrast, verdict_words
from slopewise.drawing import (
    VERDICT_SYMBOLS,
    Chart,
    arm_styles,
    chart_text,
    interval,
    lane_figure,
    number,
    signed,
    spread_dots,
)
from slopewise.records import StudyRecord

_LANE = 96  # pixels of an arm's lane
_STRIP = 0.2  # share of the width that is kept at an edge for seeds beyond it


@dataclass(frozen=True, slots=True)
class _Scale:
    """The part of the axis that is drawn to scale, with a strip at an edge for what lies beyond it."""

    low: float
    high: float
    left: bool
    right: bool

    def axis(self, value: float) -> str:
        return "x2" if value < self.low else "x3" if value > self.high else "x"


def _scale(analysis: Analysis, lost: Mapping[str, Collection[int]]) -> _Scale:
    """As wide as the margin and the pairs in which neither arm diverged, with their intervals."""
    shown = [0.0, analysis.margin, -analysis.margin]
    for contrast in analysis.primary:
        pairs = zip(contrast.seeds, contrast.differences, strict=True)
        shown += [difference for seed, difference in pairs if seed not in lost[contrast.arm]]
    for contrast in analysis.converged:
        shown += contrast.interval or ()
    pad = 0.06 * (max(shown) - min(shown))
    low, high = min(shown) - pad, max(shown) + pad
    differences = [difference for contrast in analysis.primary for difference in contrast.differences]
    return _Scale(low, high, min(differences) < low, max(differences) > high)


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
    unit = f"{analysis.metric.unit} of {analysis.metric.title}"
    diverged = {arm: {t.seed for t in study.trials if t.arm == arm and t.diverged} for arm in study.arms}
    lost = {arm: seeds | diverged[study.control] for arm, seeds in diverged.items()}
    scale = _scale(analysis, lost)
    styles = arm_styles(study.arms, study.control)
    figure = lane_figure([_label(contrast) for contrast in contrasts], _LANE, top=24)
    _axes(figure, scale, unit)
    converged = {contrast.arm: contrast for contrast in analysis.converged}
    for lane, contrast in enumerate(contrasts):
        colour = styles[contrast.arm].colour
        _ground(figure, lane, analysis.margin)
        _dots(figure, lane, contrast, scale, colour, lost[contrast.arm])
        _mean(figure, lane + 0.76, contrast, scale, colour, "all seeds")
        kept = converged.get(contrast.arm)
        if kept is not None and 0 < len(kept.seeds) < len(contrast.seeds):
            _mean(figure, lane + 0.9, kept, scale, colour, "converged pairs", hollow=True)
    return Chart(
        "differences",
        f"Difference in test {analysis.metric.title} from {study.control}, seed by seed",
        f"Dot chart, one lane per arm: the difference of every seed from the control, in {unit}, with the mean and its "
        "95 % interval.",
        figure,
        ("seed", *(contrast.arm for contrast in contrasts)),
        tuple(_row(seed, contrasts, lost) for seed in study.seeds),
    )


def _label(contrast: Contrast) -> str:
    words = f"{VERDICT_SYMBOLS[contrast.verdict]} {verdict_words(contrast)}{'*' if contrast.cautions else ''}"
    lost = f" · {contrast.diverged} of {contrast.finished} diverged" if contrast.diverged else ""
    figures = f"{signed(contrast.difference, contrast.digits)} {interval(contrast.interval, contrast.digits)}"
    return f"<b>{chart_text(contrast.arm)}</b>  {words}<br>{figures}{lost}"


def _row(seed: int, contrasts: Sequence[Contrast], lost: Mapping[str, Collection[int]]) -> tuple[str, ...]:
    cells = [str(seed)]
    for contrast in contrasts:
        value = dict(zip(contrast.seeds, contrast.differences, strict=True)).get(seed)
        cells.append(signed(value, contrast.digits) + (" (diverged)" if seed in lost[contrast.arm] else ""))
    return tuple(cells)


def _axes(figure: go.Figure, scale: _Scale, unit: str) -> None:
    main = [_STRIP + 0.02 if scale.left else 0.0, 0.98 - _STRIP if scale.right else 1.0]
    figure.update_xaxes(range=[scale.low, scale.high], domain=main, nticks=7, title=unit)
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
    lost: Collection[int],
) -> None:
    """Every seed, to scale or else in a box at the edge that says how many are there."""
    places: dict[str, list[int]] = {"x": [], "x2": [], "x3": []}
    for index, difference in enumerate(contrast.differences):
        places[scale.axis(difference)].append(index)
    for axis, indices in places.items():
        if not indices:
            continue
        crosses = [contrast.seeds[index] in lost for index in indices]
        if axis == "x":
            x = [contrast.differences[index] for index in indices]
            y = [lane + 0.54 + offset for offset in spread_dots(x, (scale.high - scale.low) / 80, room=0.24)]
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
                "symbol": ["x-thin" if each else "circle" for each in crosses],
                "size": 8,
                "opacity": 0.8,
                "line": {
                    "color": [colour if each else "var(--bg)" for each in crosses],
                    "width": [2 if each else 1 for each in crosses],
                },
            },
            hovertext=[
                f"seed {contrast.seeds[index]}: "
                f"{signed(contrast.differences[index], contrast.digits)} {contrast.unit}<br>"
                f"arm {number(contrast.arm_values[index], contrast.digits)} {contrast.value_unit}, "
                f"control {number(contrast.control_values[index], contrast.digits)} {contrast.value_unit}"
                + ("<br>diverged: counts as chance" if each else "")
                for index, each in zip(indices, crosses, strict=True)
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
    mean, ends = signed(contrast.difference, contrast.digits), interval(contrast.interval, contrast.digits)
    text = f"{which}: mean {mean}, 95 % interval {ends}"
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
        for edge, symbol, beyond in (
            (scale.low, "triangle-left", contrast.interval[0] < scale.low),
            (scale.high, "triangle-right", contrast.interval[1] > scale.high),
        ):
            if beyond:
                arrow = {"color": colour, "symbol": symbol, "size": 10}
                figure.add_scatter(x=[edge], y=[y], cliponaxis=False, marker=arrow, **common)
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
