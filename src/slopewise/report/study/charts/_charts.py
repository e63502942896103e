"""All charts of a study, each drawn when a page asks for it."""

from __future__ import annotations

from functools import cached_property

from slopewise.drawing import Chart, SeriesStyle, series_styles
from slopewise.report.study.charts._cost import cost_chart
from slopewise.report.study.charts._curves import curve_chart
from slopewise.report.study.charts._differences import difference_chart
from slopewise.report.study.charts._factors import factor_chart
from slopewise.report.study.charts._gradients import gradient_chart
from slopewise.report.study.charts._maps import map_charts
from slopewise.report.study.charts._slopes import slope_charts
from slopewise.report.study.charts._tuning import tuning_charts
from slopewise.report.study.info._factors import factor_infos
from slopewise.report.study.info._slopes import SlopePath, slope_paths
from slopewise.report.study.info._study import StudyInfo


class StudyCharts:
    """Charts of a study, for the templates of pages. A chart without anything to draw is None, or is left out.

    Args:
        info: Facts about the study.
        live: True if the page redraws the charts while it is open: each then keeps the part its reader has zoomed to.

    Attributes:
        styles: Style of each arm.
    """

    def __init__(self, info: StudyInfo, *, live: bool = False) -> None:
        self._info, self._live = info, live
        self.styles: dict[str, SeriesStyle] = series_styles(info.study.arms, info.study.control)

    @cached_property
    def slope_paths(self) -> dict[str, dict[str, SlopePath]]:
        """Slopes over training by layer and arm, which a chart and a table show."""
        return slope_paths(self._info.study)

    def differences(self) -> Chart | None:
        """Return the differences from the control, seed by seed."""
        return self._ready(difference_chart(self._info))

    def curves(self, *keys: str) -> list[Chart]:
        """Return figures over training; see `CurveInfo` for the keys."""
        charts = [self._ready(curve_chart(self._info.study, key)) for key in keys]
        return [chart for chart in charts if chart]

    def slopes(self) -> list[Chart]:
        """Return the slopes over training, a chart for each layer."""
        return [chart for chart in map(self._ready, slope_charts(self._info.study, self.slope_paths)) if chart]

    def factors(self) -> list[Chart]:
        """Return one chart of contrasts for each factor."""
        infos = factor_infos(self._info.study, self._info.analysis)
        charts = (factor_chart(factor, self._info.study, index) for index, factor in enumerate(infos))
        return [chart for chart in map(self._ready, charts) if chart]

    def maps(self) -> list[Chart]:
        """Return the sensitivity map of each arm."""
        return [chart for chart in map(self._ready, map_charts(self._info.study)) if chart]

    def tuning(self) -> list[Chart]:
        """Return charts of the best score so far by number of learning rates tried, and of the score at each rate."""
        return [chart for chart in map(self._ready, tuning_charts(self._info.study)) if chart]

    def cost(self) -> Chart | None:
        """Return the time per training step, relative to the control."""
        return self._ready(cost_chart(self._info))

    def gradients(self) -> Chart | None:
        """Return the gradient norm of each layer."""
        return self._ready(gradient_chart(self._info.study))

    def _ready(self, chart: Chart | None) -> Chart | None:
        if chart and self._live:
            chart.keep_view()
        return chart
