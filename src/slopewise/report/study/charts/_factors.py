"""Charts of the effect of each arm as a function of a factor: its contrast with the control at each value."""

from __future__ import annotations

import plotly.graph_objects as go

from slopewise.analysis import Contrast, verdict_words
from slopewise.drawing import (
    NOTHING,
    Chart,
    SeriesStyle,
    base_figure,
    chart_text,
    interval,
    name_y,
    series_styles,
    signed,
)
from slopewise.records import StudyRecord
from slopewise.report.study.info._factors import OWN, FactorInfo, Level

_ROOM, _APART = 0.5, 0.12  # width of all arms at a value, and largest distance between two arms; values are 1 apart


def factor_chart(info: FactorInfo, study: StudyRecord, index: int = 0) -> Chart:
    """Return the chart of one factor: mean differences with their 95 % intervals over the margin band.

    Diverged trials may widen an interval far beyond the others. The axis therefore spans only the contrasts without
    diverged trials, if there are any; an arrow at the edge marks a mean beyond it.

    Args:
        info: Contrasts at the values of the factor.
        study: Records of the study.
        index: Number of the chart on its page.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.report.study.info._factors import factor_infos
        >>> from slopewise.testing import synthetic_study, with_cells
        >>> study = with_cells(synthetic_study(("relu", "prelu"), seeds=4), factors={"train.epochs": [6]}, seeds=4)
        >>> factor_chart(factor_infos(study, analyse(study))[0], study).columns
        ('train.epochs', 'prelu')
    """
    metric, styles = study.primary, series_styles(study.arms, study.control)
    unit = f"{metric.unit} of {metric.title}" if metric.unit else metric.title
    figure = base_figure()
    low, high = _scale(info)
    band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "layer": "below", "line_width": 0}
    figure.add_shape(y0=-info.margin, y1=info.margin, fillcolor="var(--margin)", **band)
    figure.add_hline(y=0, line={"color": "var(--text)", "width": 1})
    for place, arm in enumerate(info.arms):
        step = min(_ROOM / max(len(info.arms) - 1, 1), _APART)
        shift = step * (place - (len(info.arms) - 1) / 2)
        _draw(figure, info, arm, styles[arm], shift, (low, high))
    names = [chart_text(level.name) + ("<br>(the study)" if _marked(level) else "") for level in info.levels]
    ends = [-0.5, len(names) - 0.5]
    figure.update_xaxes(
        title=chart_text(info.setting, 50), tickvals=list(range(len(names))), ticktext=names, range=ends, tickangle=0
    )
    figure.update_yaxes(range=[low, high], nticks=7)
    name_y(figure, f"difference, {unit}")
    return Chart(
        f"factor-{index}",
        f"Difference from {study.control} against {info.setting}{f', {unit}' if unit else ''}",
        f"Dot chart: mean difference from {study.control} with its 95 % interval, for each value of {info.setting}, "
        "one colour per arm.",
        figure,
        (info.setting, *info.arms),
        tuple(
            (
                level.name + (" (the study)" if _marked(level) else ""),
                *(_text(level.contrasts.get(arm)) for arm in info.arms),
            )
            for level in info.levels
        ),
    )


def _marked(level: Level) -> bool:
    return level.own and level.name != OWN


def _draw(
    figure: go.Figure, info: FactorInfo, arm: str, style: SeriesStyle, shift: float, scale: tuple[float, float]
) -> None:
    low, high = scale
    points = [(x + shift, level, level.contrasts[arm]) for x, level in enumerate(info.levels) if arm in level.contrasts]
    means = [contrast.difference or 0.0 for *_, contrast in points]
    y = [min(max(mean, low), high) for mean in means]
    ends = [contrast.interval or (mean, mean) for (*_, contrast), mean in zip(points, means, strict=True)]
    hover = [f"{chart_text(arm)}, {chart_text(level.name)}<br>{_text(contrast)}" for _, level, contrast in points]
    common = {"x": [x for x, *_ in points], "hovertext": hover, "hoverinfo": "text", "legendgroup": str(style.number)}
    figure.add_scatter(
        y=[at if at == mean else None for at, mean in zip(y, means, strict=True)],
        mode="markers+lines",
        line={"color": style.colour, "width": 1, "dash": "dot"},
        marker={"color": style.colour, "size": 9, "symbol": style.marker},
        **common,
    )
    figure.add_scatter(  # the intervals, and arrows at the edge for means beyond it
        y=y,
        mode="markers",
        marker={
            "color": style.colour,
            "size": [0 if at == mean else 14 for at, mean in zip(y, means, strict=True)],
            "symbol": ["arrow-up" if mean > high else "arrow-down" for mean in means],
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [max(min(top, high) - at, 0.0) for at, (_, top) in zip(y, ends, strict=True)],
            "arrayminus": [max(at - max(bottom, low), 0.0) for at, (bottom, _) in zip(y, ends, strict=True)],
            "color": style.colour,
            "thickness": 2,
            "width": 0,
        },
        cliponaxis=False,
        **common,
    )


def _scale(info: FactorInfo) -> tuple[float, float]:
    every = [contrast for level in info.levels for contrast in level.contrasts.values()]
    trained = [contrast for contrast in every if not (contrast.diverged or contrast.control_diverged)] or every
    shown = [-info.margin, info.margin, *(end for contrast in trained for end in contrast.interval or ())]
    shown += [contrast.difference for contrast in trained if contrast.difference is not None]
    pad = 0.06 * (max(shown) - min(shown))
    return min(shown) - pad, max(shown) + pad


def _text(contrast: Contrast | None) -> str:
    if contrast is None:
        return NOTHING
    ends = interval(contrast.interval, contrast.digits)
    diverged = f", {contrast.diverged} of {contrast.finished} diverged" if contrast.diverged else ""
    return (
        f"{signed(contrast.difference, contrast.digits)} {ends}, {contrast.basis}: {verdict_words(contrast)}{diverged}"
    )
