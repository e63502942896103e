"""Heat maps of the scores of each arm over learning rates and initial slopes, in the same colours for all arms."""

from __future__ import annotations

import math

from slopewise.drawing import NOTHING, Cell, Chart, Grid, Scale, heat_map, number
from slopewise.records import StudyRecord, amount
from slopewise.report.study.info._maps import ArmMap, MapInfo, Spot, map_info

_MOST_LABELLED = 9  # largest number of columns with room for numbers in the cells
_WIDEST = 6.0  # doublings of the margin from the best score to the faintest colour


def map_charts(study: StudyRecord) -> list[Chart]:
    """Return one heat map per arm; none while no trial of a map has a score.

    Colours show log2(1 + d), where d is the distance from the best mean of all maps in units of the margin. Scores
    within a margin of the best look alike, and poor scores do not hide differences between good ones.

    Example:
        >>> from slopewise.testing import synthetic_study, with_cells
        >>> study = with_cells(synthetic_study(("relu", "prelu_shared"), seeds=2), lr=[0.1, 3.0], init=[0.25])
        >>> [chart.title for chart in map_charts(study)]
        ['relu', 'prelu_shared']
    """
    info = map_info(study)
    if info is None:
        return []
    scale = _scale(info, study.margin)
    charts = [_chart(index, arm, info, study, scale) for index, arm in enumerate(info.arms)]
    return [chart for chart in charts if chart]


def _chart(index: int, arm: ArmMap, info: MapInfo, study: StudyRecord, scale: Scale) -> Chart | None:
    learned = arm.slopes != (None,)
    rows = {slope: "no learned slope" if slope is None else f"{slope:g}" for slope in reversed(arm.slopes)}
    cells = {
        column: [_cell(name, arm.spots.get((slope, rate)), info, study.margin) for slope, name in rows.items()]
        for column, rate in enumerate(info.rates)
    }
    over = "by initial slope and learning rate" if learned else "by learning rate"
    return heat_map(
        f"map-{index}",
        arm.arm,
        f"Heat map: mean {study.titled(info.metric)} of {arm.arm} {over}.",
        cells,
        scale,
        grid=Grid("initial slope" if learned else "arm", "learning rate", tuple(f"{rate:g}" for rate in info.rates)),
    )


def _cell(row: str, spot: Spot | None, info: MapInfo, margin: float) -> Cell:
    metric = info.metric
    if spot is None or not spot.finished:
        return Cell(row, None, NOTHING, "")
    diverged = f"{spot.diverged} of {spot.finished} diverged" if spot.diverged else ""
    score = number(spot.mean, metric.digits)
    text = f"{score} ({diverged})" if diverged else score
    hover = f"{amount(score, metric.value_unit)}, mean of {spot.finished}{f'<br>{diverged}' if diverged else ''}"
    label = ""
    if len(info.rates) <= _MOST_LABELLED:
        label = "" if spot.mean is None else number(spot.mean, max(metric.digits - 1, 0))
        label += f"<br>×{spot.diverged}/{spot.finished}" if spot.diverged else ""
    all_diverged = spot.diverged == spot.finished or spot.shortfall is None
    value = math.nan if all_diverged else _distance(spot.shortfall or 0.0, margin)
    return Cell(row, value, text, hover, label)


def _distance(shortfall: float, margin: float) -> float:
    return math.log2(1 + shortfall / margin)


def _scale(info: MapInfo, margin: float) -> Scale:
    """Return the colour scale, with ticks at the scores that are 0, 1, 3, 7, ... margins from the best score."""
    end = min(max(_distance(info.worst, margin), 2.0), _WIDEST)
    sign = -1 if info.metric.better == "higher" else 1
    step = 1 if end <= 3 else 2
    ticks = [
        (float(place), number(info.best + sign * (2**place - 1) * margin, max(info.metric.digits - 1, 0)))
        for place in range(0, math.floor(end) + 1, step)
    ]
    return Scale(((0.0, "cold-2"), (end / 2, "cold-1"), (end, "calm-0")), tuple(ticks))
