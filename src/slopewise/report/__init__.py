"""Showing a study: one offline HTML page, a terminal table, one JSON object. Pure functions of its records."""

from ._html import render_html as render_html
from ._html import write_html as write_html
