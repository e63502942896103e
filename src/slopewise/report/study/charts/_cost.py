"""Chart of the time per training step of each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import plotly.graph_objects as go

from slopewise.analysis import ArmSummary
from slopewise.drawing import NOTHING, Chart, chart_text, count, lane_figure, number, series_styles, spread_dots
from slopewise.report.study.info._cost import cost_info
from slopewise.report.study.info._study import StudyInfo

_SHARES = (5, 25, 75, 95)  # percent: quantiles of the seeds
_LANE = 58  # height of an arm's lane and of a unit of y, in pixels
_WITH_STOCK = 1.45  # height of an arm with a second bar, in lanes


def cost_chart(info: StudyInfo) -> Chart | None:
    """Return the time per training step relative to the control: the median as a bar, each seed as a dot.

    Arms that were also timed with stock PyTorch have a second, lighter bar. None if no seed has step times for both
    an arm and the control.
    """
    cost = cost_info(info)
    if cost is None:
        return None
    study, arms, ratios = info.study, cost.arms, cost.ratios
    styles = series_styles(study.arms, study.control)
    edges = list(accumulate((_WITH_STOCK if arm.stock_cost_ratio else 1.0 for arm in arms), initial=0.0))
    figure = lane_figure([_cost_label(s.arm, s.cost_ratio, s.seconds_per_step) for s in arms], _LANE, edges=edges)
    for edge, summary in zip(edges, arms, strict=False):  # there is one edge more than arms
        colour = styles[summary.arm].colour
        figure.add_shape(
            type="line", x0=1, x1=1, y0=edge + 0.45, y1=edge + 0.95, line={"color": "var(--text)", "width": 1}
        )
        if summary.stock_cost_ratio:
            _stock_bar(figure, edge + 1.13, summary, colour)
        figure.add_bar(
            x=[summary.cost_ratio],
            y=[edge + 0.7],
            orientation="h",
            width=0.34,
            marker={"color": colour, "opacity": 0.55, "line": {"width": 0}},
            hoverinfo="skip",
        )
        (_range if info.many else _dots)(figure, edge + 0.7, ratios.get(summary.arm, {}), colour)
    figure.update_xaxes(
        title=f"ratio: step time / step time of {chart_text(study.control)}", rangemode="tozero", nticks=7
    )
    return Chart(
        "cost",
        f"Step time as a ratio to that of {study.control}",
        "Bar chart, one bar per arm: median ratio of the time per training step to the control's; a dot per seed. A "
        "second, lighter bar where the same steps were timed with stock PyTorch.",
        figure,
        ("quantile" if info.many else "seed", *ratios),
        (
            *(_quantile_rows(ratios) if info.many else _seed_rows(study.seeds, ratios)),
            *_summary_rows({summary.arm: summary for summary in arms}, list(ratios)),
        ),
    )


def _dots(figure: go.Figure, y: float, ratios: Mapping[int, float], colour: str) -> None:
    figure.add_scatter(
        x=list(ratios.values()),
        y=[y + offset for offset in spread_dots(list(ratios.values()), 0.02, room=0.3)],
        mode="markers",
        marker={"color": colour, "size": 6, "line": {"color": "var(--bg)", "width": 1}},
        hovertext=[f"seed {seed}: {ratio:.2f} times the control" for seed, ratio in ratios.items()],
        hoverinfo="text",
    )


def _range(figure: go.Figure, y: float, ratios: Mapping[int, float], colour: str) -> None:
    """Draw the range of most seeds, which are too many for dots."""
    if not ratios:
        return
    low, high = _quantiles(ratios)[0], _quantiles(ratios)[-1]
    figure.add_scatter(
        x=[low, high],
        y=[y, y],
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 10, "symbol": "line-ns-open"},
        hovertext=f"90 % of {count(len(ratios), 'seed')}: {low:.2f} to {high:.2f} times the control",
        hoverinfo="text",
    )


def _quantiles(ratios: Mapping[int, float]) -> list[float]:
    """Return the quantiles of `_SHARES` percent, as the values themselves."""
    ordered = sorted(ratios.values())
    return [ordered[round(share / 100 * (len(ordered) - 1))] for share in _SHARES]


def _quantile_rows(ratios: Mapping[str, Mapping[int, float]]) -> list[tuple[str, ...]]:
    columns = [_quantiles(dots) if dots else [] for dots in ratios.values()]
    return [
        (f"{share} %", *(number(column[place], 2) if column else NOTHING for column in columns))
        for place, share in enumerate(_SHARES)
    ]


def _seed_rows(seeds: Sequence[int], ratios: Mapping[str, Mapping[int, float]]) -> list[tuple[str, ...]]:
    return [
        (str(seed), *(number(dots[seed], 2) if seed in dots else NOTHING for dots in ratios.values())) for seed in seeds
    ]


def _stock_bar(figure: go.Figure, y: float, summary: ArmSummary, colour: str) -> None:
    figure.add_bar(
        x=[summary.stock_cost_ratio],
        y=[y],
        orientation="h",
        width=0.34,
        marker={"color": colour, "opacity": 0.22, "line": {"width": 0}},
        hovertext=[
            f"with stock PyTorch: {number(summary.stock_cost_ratio, 2)} times the control,<br>"
            f"{number(summary.stock_ratio, 2)} times the same steps with the kernels"
        ],
        hoverinfo="text",
    )
    figure.add_annotation(
        text=f"{number(summary.stock_cost_ratio, 2)}× with stock PyTorch",
        x=0,
        xanchor="left",
        xshift=4,
        y=y,
        yanchor="middle",
        showarrow=False,
        font={"size": 11},
    )


def _summary_rows(summaries: dict[str, ArmSummary], arms: list[str]) -> list[tuple[str, ...]]:
    rows = [("median", *(number(summaries[arm].cost_ratio, 2) if arm in summaries else NOTHING for arm in arms))]
    if any(summary.stock_cost_ratio for summary in summaries.values()):
        stock = [number(summaries[arm].stock_cost_ratio, 2) if arm in summaries else NOTHING for arm in arms]
        rows.append(("with stock PyTorch", *stock))
    return rows


def _cost_label(arm: str, ratio: float | None, seconds: float | None) -> str:
    step = f" · {number(1000 * seconds)} ms a step" if seconds else ""
    return f"<b>{chart_text(arm)}</b>  {number(ratio, 2)}×{step}"
