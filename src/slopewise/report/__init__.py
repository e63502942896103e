"""Views of a study, a watched run and a checkpoint, pure functions of plain data: HTML, terminal, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.report.study._status import damage_note as damage_note
from slopewise.report.study._status import print_status as print_status
from slopewise.report.study._status import status_json as status_json
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.report.checkpoint._text import print_slopes as print_slopes
    from slopewise.report.study._alarms import alarm_rows as alarm_rows
    from slopewise.report.study._differences import difference_chart as difference_chart
    from slopewise.report.study._export import EXPORTS as EXPORTS
    from slopewise.report.study._figures import curve_chart as curve_chart
    from slopewise.report.study._figures import slope_charts as slope_charts
    from slopewise.report.study._html import render_html as render_html
    from slopewise.report.study._html import write_html as write_html
    from slopewise.report.study._json import to_json as to_json
    from slopewise.report.study._outlook import outlook as outlook
    from slopewise.report.study._progress import StudyProgress as StudyProgress
    from slopewise.report.study._text import print_summary as print_summary
    from slopewise.report.study._text import summary_text as summary_text
    from slopewise.report.watch._figures import watch_charts as watch_charts
    from slopewise.report.watch._html import render_watch_html as render_watch_html
    from slopewise.report.watch._html import write_watch_html as write_watch_html
    from slopewise.report.watch._text import WatchSummary as WatchSummary
    from slopewise.report.watch._text import print_recording as print_recording
    from slopewise.report.watch._text import watch_summary as watch_summary

# Modules that analyse and draw are imported on first use: a table of counts does not need them.
__getattr__ = importer(
    __name__,
    {
        "checkpoint._text": ("print_slopes",),
        "study._alarms": ("alarm_rows",),
        "study._differences": ("difference_chart",),
        "study._export": ("EXPORTS",),
        "study._figures": ("curve_chart", "slope_charts"),
        "study._html": ("render_html", "write_html"),
        "study._json": ("to_json",),
        "study._outlook": ("outlook",),
        "study._progress": ("StudyProgress",),
        "study._text": ("print_summary", "summary_text"),
        "watch._figures": ("watch_charts",),
        "watch._html": ("render_watch_html", "write_watch_html"),
        "watch._text": ("WatchSummary", "print_recording", "watch_summary"),
    },
)
