"""Chart of the difference of every seed from the control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from slopewise.analysis import Contrast, verdict_words
from slopewise.drawing import (
    Chart,
    chart_text,
    count,
    interval,
    lane_figure,
    number,
    series_styles,
    signed,
    spread_dots,
)
from slopewise.records import StudyRecord, amount
from slopewise.report.study._verdicts import VERDICT_SYMBOLS
from slopewise.report.study.info._differences import DifferenceInfo, Lane, Seed, difference_info
from slopewise.report.study.info._study import StudyInfo

_LANE = 96  # height of an arm's lane, in pixels
_STRIP = 0.2  # share of the width of a strip at an edge, for seeds beyond the scale


def difference_chart(info: StudyInfo) -> Chart | None:
    """Return the difference of every seed from the control, per arm, with mean and interval; None without any.

    Runs that have no partners are shown as differences from the mean of the control's runs, beside those runs.

    A diverged trial counts as chance. If that is off the scale of the other seeds, its dot stands in a strip at the
    edge: on one scale with it, all others would shrink to a line.

    Example:
        >>> from slopewise.report.study.info._study import study_info
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "prelu_shared"), seeds=4, diverged={"prelu_shared": 1})
        >>> difference_chart(study_info(study)).columns
        ('seed', 'prelu_shared')
    """
    differences = difference_info(info)
    if differences is None:
        return None
    study, metric, lanes = info.study, info.analysis.metric, differences.lanes
    unit = f"{metric.unit} of {metric.title}" if metric.unit else metric.title
    styles = series_styles(study.arms, study.control)
    figure = lane_figure([_label(lane, study.control) for lane in lanes], _LANE, top=24)
    _axes(figure, differences, unit)
    for position, lane in enumerate(lanes):
        colour = styles[lane.arm].colour
        _ground(figure, position, differences.margin)
        (_bars if info.many else _dots)(figure, position, lane, differences, colour, study)
        values, trained = ("all seeds", "converged pairs") if differences.paired else ("all runs", "converged runs")
        if lane.contrast:
            _mean(figure, position + 0.76, lane.contrast, differences, colour, values)
        if lane.converged:
            _mean(figure, position + 0.9, lane.converged, differences, colour, trained, hollow=True)
    each, kind = "seed" if differences.paired else "run", "Histogram" if info.many else "Dot chart"
    return Chart(
        "differences",
        f"Difference in {study.titled(metric)} from {' or '.join(study.controls)}, {each} by {each}",
        f"{kind}, one lane per arm: the difference of every {each} from the control"
        f"{f', in {unit}' if unit else ''}, with the mean and its 95 % interval.",
        figure,
        ("difference" if info.many else each, *(lane.arm for lane in lanes)),
        _bin_rows(differences) if info.many else _rows(info, lanes),
    )


def _label(lane: Lane, control: str) -> str:
    if (contrast := lane.contrast) is None:
        return f"<b>{chart_text(lane.arm)}</b>  control<br>{count(len(lane.seeds), 'run')} about their mean"
    verdict = f"{VERDICT_SYMBOLS[contrast.verdict]} {verdict_words(contrast)}{'*' if contrast.cautions else ''}"
    diverged = f" · {contrast.diverged} of {contrast.finished} diverged" if contrast.diverged else ""
    figures = f"{signed(contrast.difference, contrast.digits)} {interval(contrast.interval, contrast.digits)}"
    other = "" if contrast.control == control else f" from {chart_text(contrast.control)}"
    return f"<b>{chart_text(contrast.arm)}</b>  {verdict}<br>{figures}{other}{diverged}"


def _rows(info: StudyInfo, lanes: Sequence[Lane]) -> tuple[tuple[str, ...], ...]:
    study = info.study
    return tuple((study.seed_name(seed), *(_cell(seed, lane, info) for lane in lanes)) for seed in study.seeds)


def _cell(seed: int, lane: Lane, info: StudyInfo) -> str:
    difference = next((each.difference for each in lane.seeds if each.seed == seed), None)
    contrast = lane.contrast
    arms = {lane.arm, contrast.control} if contrast is not None and contrast.paired else {lane.arm}
    diverged = any(trial.seed == seed and trial.arm in arms for trial in info.diverged)
    return signed(difference, info.study.primary.digits) + (" (diverged)" if diverged else "")


def _bin_rows(differences: DifferenceInfo) -> tuple[tuple[str, ...], ...]:
    """Return the number of seeds of each lane by difference; empty bins are left out."""
    lanes = [Counter(differences.bin_of(seed.difference) for seed in lane.seeds) for lane in differences.lanes]
    bins = sorted({place for lane in lanes for place in lane})
    return tuple((differences.bin_words(place), *(str(lane[place]) for lane in lanes)) for place in bins)


def _axes(figure: go.Figure, differences: DifferenceInfo, unit: str) -> None:
    main = [_STRIP + 0.02 if differences.below else 0.0, 0.98 - _STRIP if differences.above else 1.0]
    figure.update_xaxes(range=[differences.low, differences.high], domain=main, nticks=7, title=f"difference, {unit}")
    edge = {"range": [0, 1], "visible": False, "anchor": "y"}
    if differences.below:
        figure.update_layout(xaxis2=edge | {"domain": [0.0, _STRIP]})
    if differences.above:
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


def _axis(differences: DifferenceInfo, difference: float) -> str:
    """Return the axis of a difference: the scale, or the strip at an edge."""
    return "x2" if difference < differences.low else "x3" if difference > differences.high else "x"


def _dots(
    figure: go.Figure, position: int, lane: Lane, differences: DifferenceInfo, colour: str, study: StudyRecord
) -> None:
    """Draw every seed, to scale or in a box at the edge that gives the number of seeds in it."""
    by_axis: dict[str, list[Seed]] = {"x": [], "x2": [], "x3": []}
    for seed in lane.seeds:
        by_axis[_axis(differences, seed.difference)].append(seed)
    for axis, seeds in by_axis.items():
        if not seeds:
            continue
        if axis == "x":
            x = [seed.difference for seed in seeds]
            y = [position + 0.54 + offset for offset in spread_dots(x, differences.width, room=0.24)]
        else:
            rows = -(-len(seeds) // 5)
            x = [(k // rows + 1) / (-(-len(seeds) // rows) + 1) for k in range(len(seeds))]
            y = [position + 0.5 + 0.11 * (k % rows) for k in range(len(seeds))]
            _off_scale(figure, position, axis, len(seeds))
        figure.add_scatter(
            x=x,
            y=y,
            xaxis=axis,
            mode="markers",
            marker={
                "color": colour,
                "symbol": ["x-thin" if seed.diverged else "circle" for seed in seeds],
                "size": 8,
                "opacity": 0.8,
                "line": {
                    "color": [colour if seed.diverged else "var(--bg)" for seed in seeds],
                    "width": [2 if seed.diverged else 1 for seed in seeds],
                },
            },
            hovertext=[_hover(seed, study) for seed in seeds],
            hoverinfo="text",
        )


def _bars(
    figure: go.Figure, position: int, lane: Lane, differences: DifferenceInfo, colour: str, _: StudyRecord
) -> None:
    """Draw the number of seeds in each bin of the scale, and how many are beyond it."""
    bins: dict[str, Counter[int]] = {"trained": Counter(), "diverged": Counter()}
    for seed in lane.seeds:
        bins["diverged" if seed.diverged else "trained"][differences.bin_of(seed.difference)] += 1
    total = bins["trained"] + bins["diverged"]
    for axis, place in (("x2", -1), ("x3", differences.bins)):
        if total[place]:
            _off_scale(figure, position, axis, total[place])
    inside = sorted(place for place in total if 0 <= place < differences.bins)
    unit = 0.26 / max((total[place] for place in inside), default=1)  # height of one seed
    for kind, below in (("trained", Counter[int]()), ("diverged", bins["trained"])):
        places = [place for place in inside if bins[kind][place]]
        if not places:
            continue
        figure.add_bar(
            x=[differences.middle(place) for place in places],
            y=[-unit * bins[kind][place] for place in places],
            base=[position + 0.67 - unit * below[place] for place in places],
            width=0.9 * differences.width,
            marker={
                "color": colour if kind == "trained" else "var(--bg)",
                "opacity": 0.8,
                "line": {"color": colour, "width": 0 if kind == "trained" else 1},
            },
            hovertext=[
                f"{differences.bin_words(place)}: {count(total[place], 'seed')}"
                + (f", {bins['diverged'][place]} of them diverged" if bins["diverged"][place] else "")
                for place in places
            ],
            hoverinfo="text",
        )


def _hover(seed: Seed, study: StudyRecord) -> str:
    metric, name = study.primary, chart_text(study.seed_name(seed.seed))
    digits, unit = metric.digits, metric.value_unit
    diverged = "<br>diverged: counts as chance" if seed.diverged else ""
    difference = amount(signed(seed.difference, digits), metric.unit)
    if seed.control_value is None:
        value = amount(number(seed.arm_value, digits), unit)
        return f"run {name}: {value}<br>{difference} from the control’s mean{diverged}"
    return (
        f"seed {name}: {difference}<br>"
        f"arm {amount(number(seed.arm_value, digits), unit)}, "
        f"control {amount(number(seed.control_value, digits), unit)}{diverged}"
    )


def _ground(figure: go.Figure, position: int, margin: float) -> None:
    """Draw the margin band and the line of no difference, below the lane's label."""
    below = {"y0": position + 0.4, "y1": position + 0.99, "layer": "below"}
    figure.add_shape(type="rect", x0=-margin, x1=margin, fillcolor="var(--margin)", line_width=0, **below)
    figure.add_shape(type="line", x0=0, x1=0, line={"color": "var(--text)", "width": 1}, **below)


def _off_scale(figure: go.Figure, position: int, axis: str, seeds: int) -> None:
    figure.add_shape(
        type="rect",
        xref=axis,
        x0=0,
        x1=1,
        y0=position + 0.4,
        y1=position + 0.95,
        fillcolor="var(--strip)",
        line_width=0,
        layer="below",
    )
    figure.add_annotation(
        text=f"{seeds} off scale", x=0.5, xref=axis, y=position + 0.83, showarrow=False, font={"size": 11}
    )


def _mean(
    figure: go.Figure,
    y: float,
    contrast: Contrast,
    differences: DifferenceInfo,
    colour: str,
    pairs: str,
    *,
    hollow: bool = False,
) -> None:
    """Draw the mean as a diamond on its interval, with an arrow where the interval goes on beyond the scale."""
    mean, ends = signed(contrast.difference, contrast.digits), interval(contrast.interval, contrast.digits)
    text = f"{pairs}: mean {mean}, 95 % interval {ends}"
    common = {"mode": "markers", "hovertext": text, "hoverinfo": "text"}
    if contrast.interval:
        low, high = (min(max(end, differences.low), differences.high) for end in contrast.interval)
        figure.add_scatter(
            x=[low, high],
            y=[y, y],
            mode="lines",
            line={"color": colour, "width": 1.5 if hollow else 3},
            hoverinfo="skip",
        )
        for edge, symbol, beyond in (
            (differences.low, "triangle-left", contrast.interval[0] < differences.low),
            (differences.high, "triangle-right", contrast.interval[1] > differences.high),
        ):
            if beyond:
                arrow = {"color": colour, "symbol": symbol, "size": 10}
                figure.add_scatter(x=[edge], y=[y], cliponaxis=False, marker=arrow, **common)
    if contrast.difference is not None and _axis(differences, contrast.difference) == "x":
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
