"""Page of a watched run as one offline HTML file, and what it shares with the live page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from slopewise.drawing import render_page, write_page
from slopewise.recording import Recording
from slopewise.report.watch.charts import watch_charts
from slopewise.report.watch.info import watch_info

WATCH_TEMPLATES = "slopewise.report.watch"  # package of the templates


def watch_context(recording: Recording, *, live: bool = False) -> dict[str, Any]:
    """Return the variables that the templates of the offline page and of the live page share.

    Args:
        recording: Recording so far.
        live: True if the page redraws its charts while it is open: each then keeps the part its reader has zoomed to.
    """
    sections = watch_charts(recording)
    if live:
        for chart in (chart for section in sections for chart in section.charts):
            chart.keep_view()
    return {"info": watch_info(recording), "recording": recording, "sections": sections}


def write_watch_html(recording: Recording, path: str | os.PathLike[str]) -> Path:
    """Write the page of a watched run: one file that needs no network, no server and no other file.

    Args:
        recording: Recording of a run that has ended, or of one that goes on.
        path: File to write. It appears whole or not at all; an existing one is replaced.

    Returns:
        The path.

    Raises:
        OSError: The folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> from slopewise.testing import synthetic_recording
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_watch_html(synthetic_recording(layers=2), f"{folder}/watch.html").name
        'watch.html'
    """
    return write_page(render_watch_html(recording), path)


def render_watch_html(recording: Recording) -> str:
    """Return the page of `write_watch_html` as text.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> render_watch_html(synthetic_recording(layers=1, samples=1))[:15]
        '<!doctype html>'
    """
    return render_page("watch.html.j2", WATCH_TEMPLATES, **watch_context(recording))
