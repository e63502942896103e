"""Charts, tables, numbers and the page around them, made of plain cells and marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.drawing._cells import Cell as Cell
from slopewise.drawing._cells import Grid as Grid
from slopewise.drawing._cells import Mark as Mark
from slopewise.drawing._cells import spaced as spaced
from slopewise.drawing._format import NOTHING as NOTHING
from slopewise.drawing._format import compact as compact
from slopewise.drawing._format import count as count
from slopewise.drawing._format import interval as interval
from slopewise.drawing._format import listing as listing
from slopewise.drawing._format import number as number
from slopewise.drawing._format import plain as plain
from slopewise.drawing._format import shared_module as shared_module
from slopewise.drawing._format import signed as signed
from slopewise.drawing._format import spread as spread
from slopewise.drawing._strips import Signs as Signs
from slopewise.drawing._strips import Strip as Strip
from slopewise.drawing._strips import signs_in as signs_in
from slopewise.drawing._strips import strip_lines as strip_lines
from slopewise.drawing._style import HUES as HUES
from slopewise.drawing._style import MARKERS as MARKERS
from slopewise.drawing._style import SeriesStyle as SeriesStyle
from slopewise.drawing._style import chart_text as chart_text
from slopewise.drawing._style import series_styles as series_styles
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.drawing._chart import Chart as Chart
    from slopewise.drawing._chart import add_curve as add_curve
    from slopewise.drawing._chart import base_figure as base_figure
    from slopewise.drawing._chart import log_ticks as log_ticks
    from slopewise.drawing._chart import name_y as name_y
    from slopewise.drawing._chart import turns as turns
    from slopewise.drawing._heat_map import Scale as Scale
    from slopewise.drawing._heat_map import depth_axis as depth_axis
    from slopewise.drawing._heat_map import heat_map as heat_map
    from slopewise.drawing._heat_map import row_height as row_height
    from slopewise.drawing._heat_map import row_labels as row_labels
    from slopewise.drawing._heat_map import tail as tail
    from slopewise.drawing._lanes import lane_figure as lane_figure
    from slopewise.drawing._lanes import spread_dots as spread_dots
    from slopewise.drawing._page import asset as asset
    from slopewise.drawing._page import render_page as render_page
    from slopewise.drawing._page import templates as templates
    from slopewise.drawing._page import write_page as write_page
    from slopewise.drawing._typeset import typeset as typeset

# Modules that import plotly or jinja2 are imported on first use: terminal output does not need them.
__getattr__ = importer(
    __name__,
    {
        "_chart": ("Chart", "add_curve", "base_figure", "log_ticks", "name_y", "turns"),
        "_heat_map": (
            "Scale",
            "depth_axis",
            "heat_map",
            "row_height",
            "row_labels",
            "tail",
        ),
        "_lanes": ("lane_figure", "spread_dots"),
        "_page": ("asset", "render_page", "templates", "write_page"),
        "_typeset": ("typeset",),
    },
)
