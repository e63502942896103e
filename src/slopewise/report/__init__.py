"""Showing a study: one offline HTML page, a terminal table, one JSON object. Pure functions of its records."""

from slopewise.report._export import EXPORTS as EXPORTS
from slopewise.report._html import render_html as render_html
from slopewise.report._html import write_html as write_html
from slopewise.report._json import to_json as to_json
from slopewise.report._progress import StudyProgress as StudyProgress
from slopewise.report._text import print_status as print_status
from slopewise.report._text import print_summary as print_summary
from slopewise.report._text import summary_text as summary_text
