"""Facts about a watched run in words and tables, for its page and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.recording import Alarm, AlarmId, Recording
from slopewise.report.watch.info import tables

Table = tuple[tables.Row, tuple[tables.Row, ...]]  # columns and rows


@dataclass(frozen=True, slots=True)
class WatchInfo:
    """Facts about a watched run so far.

    Attributes:
        recording: Recording of the run.
        title: Name of the run, or of its model.
        verdict: Number and kinds of the alarms, in words.
        extent: Number of samples and steps, in words.
        overhead: Time that measuring took, in words.
        alarms: Alarms by kind, the most serious kind first.
        states: Tables of the latest state of call sites, slopes and weights, by their titles. Their rows may be empty.
        classes: Class or function of the activation at each call site.
    """

    recording: Recording
    title: str
    verdict: str
    extent: str
    overhead: str
    alarms: dict[AlarmId, list[Alarm]]
    states: dict[str, Table]
    classes: dict[str, str]


def watch_info(recording: Recording) -> WatchInfo:
    """Return the facts that every view of a watched run shows.

    Args:
        recording: Recording of a run that has ended, or of one that goes on.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> info = watch_info(synthetic_recording(layers=2))
        >>> info.title, info.verdict, list(info.states)
        ('synthetic', '1 alarm: dead-units', ['Call sites', 'Slopes', 'Weights', 'Not finite'])
    """
    return WatchInfo(
        recording=recording,
        title=recording.header.name or recording.header.model,
        verdict=tables.verdict(recording),
        extent=tables.extent(recording),
        overhead=tables.overhead(recording),
        alarms=tables.by_id(recording),
        states={
            "Call sites": (tables.SITES, tables.site_rows(recording)),
            "Slopes": (tables.SLOPES, tables.slope_rows(recording)),
            "Weights": (tables.LAYERS, tables.layer_rows(recording)),
            "Not finite": (tables.NOT_FINITE, tables.not_finite_rows(recording)),
        },
        classes={site.site: site.activation for sample in recording.samples for site in sample.sites},
    )
