"""Pages and tables of a study or a watched run, pure functions of records: HTML, terminal, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.report._format import count as count
from slopewise.report._status import damage_note as damage_note
from slopewise.report._status import print_status as print_status
from slopewise.report._status import status_json as status_json
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.report._alarms import alarm_rows as alarm_rows
    from slopewise.report._chart import Chart as Chart
    from slopewise.report._differences import difference_chart as difference_chart
    from slopewise.report._export import EXPORTS as EXPORTS
    from slopewise.report._figures import curve_chart as curve_chart
    from slopewise.report._figures import slope_charts as slope_charts
    from slopewise.report._html import render_html as render_html
    from slopewise.report._html import write_html as write_html
    from slopewise.report._json import to_json as to_json
    from slopewise.report._outlook import outlook as outlook
    from slopewise.report._page import templates as templates
    from slopewise.report._progress import StudyProgress as StudyProgress
    from slopewise.report._slopes import print_slopes as print_slopes
    from slopewise.report._style import arm_styles as arm_styles
    from slopewise.report._text import print_summary as print_summary
    from slopewise.report._text import summary_text as summary_text
    from slopewise.report._watch_figures import watch_charts as watch_charts
    from slopewise.report._watch_html import render_watch_html as render_watch_html
    from slopewise.report._watch_html import write_watch_html as write_watch_html
    from slopewise.report._watch_text import WatchSummary as WatchSummary
    from slopewise.report._watch_text import print_recording as print_recording
    from slopewise.report._watch_text import watch_summary as watch_summary

# What judges and draws is imported when it is used: a table of counts does not wait for it.
__getattr__ = importer(
    __name__,
    {
        "_alarms": ("alarm_rows",),
        "_export": ("EXPORTS",),
        "_json": ("to_json",),
        "_outlook": ("outlook",),
        "_progress": ("StudyProgress",),
        "_slopes": ("print_slopes",),
        "_text": (
            "print_summary",
            "summary_text",
        ),
        "_chart": ("Chart",),
        "_differences": ("difference_chart",),
        "_figures": ("curve_chart", "slope_charts"),
        "_page": ("templates",),
        "_style": ("arm_styles",),
        "_html": ("render_html", "write_html"),
        "_watch_figures": ("watch_charts",),
        "_watch_text": ("WatchSummary", "print_recording", "watch_summary"),
        "_watch_html": ("render_watch_html", "write_watch_html"),
    },
)
