"""The chart of what an arm costs."""

from __future__ import annotations

from slopewise.analysis import Analysis
from slopewise.records import StudyRecord
from slopewise.report._chart import Chart
from slopewise.report._format import NOTHING, number
from slopewise.report._lanes import lane_figure, spread_dots
from slopewise.report._style import arm_styles, chart_text


def cost_chart(study: StudyRecord, analysis: Analysis) -> Chart | None:
    """Time per training step relative to the control: the median as a bar, every seed as a dot."""
    ratios = {
        contrast.arm: {
            seed: arm / control
            for seed, arm, control in zip(contrast.seeds, contrast.arm_values, contrast.control_values, strict=True)
            if control > 0
        }
        for contrast in analysis.secondary
        if contrast.metric == "seconds_per_step" and contrast.seeds
    }
    arms = [summary for summary in analysis.arms if summary.cost_ratio is not None]
    if not ratios:
        return None
    styles = arm_styles(study.arms, study.control)
    figure = lane_figure([_cost_label(s.arm, s.cost_ratio, s.seconds_per_step) for s in arms], lane=58)
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
            y=[lane + 0.7 + offset for offset in spread_dots(list(dots.values()), 0.02, room=0.3)],
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
