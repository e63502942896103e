"""Charts of the slopes over training, one for each layer."""

from __future__ import annotations

from collections.abc import Mapping

from slopewise.drawing import Chart, add_curve, base_figure, name_y, number, series_styles, turns
from slopewise.records import StudyRecord
from slopewise.report.study.charts._curves import epoch_ticks
from slopewise.report.study.info._slopes import SlopePath, slope_paths


def slope_charts(study: StudyRecord, paths: Mapping[str, Mapping[str, SlopePath]] | None = None) -> list[Chart]:
    """Return one small chart per layer, all on one scale; none without converged trials that learn slopes.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> [chart.title for chart in slope_charts(synthetic_study(("relu", "prelu_shared"), seeds=2))][:2]
        ['act1', 'act2']
    """
    paths = slope_paths(study) if paths is None else paths
    ends = [end for arms in paths.values() for path in arms.values() for pair in path.ends for end in pair]
    if not ends:
        return []
    low, high = min(*ends, 0.0), max(ends)
    pad = 0.05 * (high - low or 1.0)
    styles = series_styles(study.arms, study.control)
    charts = []
    for index, (layer, arms) in enumerate(paths.items()):
        figure = base_figure(height=214)
        name_y(figure, "slope")
        turn = turns({arm: path.middle for arm, path in arms.items()})
        figure.update_yaxes(range=[low - pad, high + pad], nticks=5)
        figure.update_xaxes(title="epoch", **epoch_ticks(arms, most=5))
        figure.add_hline(y=0, line={"color": "var(--muted)", "width": 1, "dash": "dot"})
        for arm, path in arms.items():
            hover = [
                f"epoch {epoch}: median slope {number(middle, 3)}<br>{number(lowest, 3)} to {number(highest, 3)}"
                for epoch, middle, (lowest, highest) in zip(path.epochs, path.middle, path.ends, strict=True)
            ]
            add_curve(figure, arm, styles[arm], path.epochs, path.middle, path.ends, hover, turn[arm])
        label = f"Line chart: slopes of layer {layer} by epoch, one line per arm that learns them."
        charts.append(Chart(f"slopes-{index}", layer, label, figure))
    return charts
