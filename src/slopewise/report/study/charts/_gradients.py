"""Chart of the gradient norm of each layer."""

from __future__ import annotations

from statistics import median

from slopewise.drawing import NOTHING, Chart, base_figure, chart_text, log_ticks, name_y, number, series_styles
from slopewise.records import StudyRecord
from slopewise.report.study.info._gradients import gradient_info


def gradient_chart(study: StudyRecord) -> Chart | None:
    """Return the gradient norm of each layer after the last epoch; None without records of it.

    Dots are medians over converged seeds, bars reach from the lowest to the highest seed.
    """
    info = gradient_info(study)
    if info is None:
        return None
    norms, arms, layers = info.norms, info.arms, list(info.norms)
    styles = series_styles(study.arms, study.control)
    figure = base_figure(height=80 + len(layers) * max(26, 9 * len(arms)))
    for position, arm in enumerate(arms):
        offset = 0.7 * ((position + 0.5) / len(arms) - 0.5)  # the arms of a layer are drawn below each other
        rows = [(index, layer, norms[layer][arm]) for index, layer in enumerate(layers) if arm in norms[layer]]
        middle = [median(values) for _, _, values in rows]
        figure.add_scatter(
            x=middle,
            y=[index + offset for index, _, _ in rows],
            error_x={
                "array": [max(values) - m for (_, _, values), m in zip(rows, middle, strict=True)],
                "arrayminus": [m - min(values) for (_, _, values), m in zip(rows, middle, strict=True)],
                "color": styles[arm].colour,
                "thickness": 1.2,
                "width": 0,
            },
            mode="markers",
            marker={"color": styles[arm].colour, "symbol": styles[arm].marker, "size": 7},
            name=chart_text(arm),
            text=[chart_text(layer) for _, layer, _ in rows],
            hovertemplate="%{text}: median %{x:.3g}",
            legendgroup=str(styles[arm].number),
        )
    ticks = log_ticks(norm for by_arm in norms.values() for values in by_arm.values() for norm in values)
    figure.update_xaxes(title="gradient norm (logarithmic scale)", **ticks)
    name_y(figure, "layer")
    figure.update_yaxes(
        tickvals=list(range(len(layers))),
        ticktext=[chart_text(layer, 18) for layer in layers],
        range=[len(layers) - 0.5, -0.5],
    )
    return Chart(
        "gradients",
        "Gradient norm per layer after the last epoch",
        "Dot chart: gradient norm of every layer, one dot per arm, a bar from the lowest to the highest seed.",
        figure,
        ("layer", *arms),
        tuple(
            (layer, *(number(median(by_arm[arm])) if arm in by_arm else NOTHING for arm in arms))
            for layer, by_arm in norms.items()
        ),
    )
