"""A watched run as one offline HTML file."""

from __future__ import annotations

import os
from pathlib import Path

from slopewise.drawing import render_page, write_page
from slopewise.recording import Recording
from slopewise.report.watch import tables
from slopewise.report.watch._figures import watch_charts


def write_watch_html(recording: Recording, path: str | os.PathLike[str]) -> Path:
    """Write the run's page: one file that needs no network, no server and no other file.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Args:
        recording: of a run that has ended, or so far.
        path: the file; an existing one is replaced.

    Returns:
        the path.

    Raises:
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> from slopewise.testing import synthetic_recording
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_watch_html(synthetic_recording(layers=2), f"{folder}/watch.html").name
        'watch.html'
    """
    return write_page(render_watch_html(recording), path)


def render_watch_html(recording: Recording) -> str:
    """The page of `write_watch_html` as text.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> render_watch_html(synthetic_recording(layers=1, samples=1))[:15]
        '<!doctype html>'
    """
    return render_page(
        "watch.html.j2",
        recording=recording,
        verdict=tables.verdict(recording),
        extent=tables.extent(recording),
        overhead=tables.overhead(recording),
        alarms=tables.by_id(recording),
        sections=watch_charts(recording),
        states={
            "Call sites": (tables.SITES, tables.site_rows(recording)),
            "Slopes": (tables.SLOPES, tables.slope_rows(recording)),
            "Weights": (tables.LAYERS, tables.layer_rows(recording)),
            "Not finite": (tables.LOST, tables.lost_rows(recording)),
        },
    )
