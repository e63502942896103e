"""What is served: the listing, and a page for each run, whole and readable without scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader

from slopewise.analysis import sentence
from slopewise.drawing import Chart, arm_styles
from slopewise.drawing import templates as report_templates
from slopewise.live._folder import Found
from slopewise.live._loop import Loop
from slopewise.live._state import STATES, Summary
from slopewise.live._study import Study
from slopewise.report import (
    alarm_rows,
    curve_chart,
    damage_note,
    difference_chart,
    slope_charts,
    watch_charts,
)
from slopewise.report.watch import tables

_LEARNING = ("accuracy", "train-loss", "validation-loss", "zero-gradient")


def index_page(folder: Path, rows: Sequence[tuple[Found, Summary]], *, cut: bool, there: bool) -> str:
    """The listing: what goes on first."""
    order = sorted(rows, key=lambda row: (STATES.index(row[1].state), row[0].name))
    return _render("index.html.j2", folder=folder.absolute(), rows=order, cut=cut, there=there)


def loop_page(found: Found, loop: Loop, now: float) -> str:
    """A watched loop: its alarms and all figures of its recording."""
    recording = loop.recording
    sections = watch_charts(recording) if recording else ()
    for section in sections:
        _live(section.charts)
    states = recording and {
        "Call sites": (tables.SITES, tables.site_rows(recording)),
        "Slopes": (tables.SLOPES, tables.slope_rows(recording)),
        "Weights": (tables.LAYERS, tables.layer_rows(recording)),
        "Not finite": (tables.LOST, tables.lost_rows(recording)),
    }
    return _render(
        "loop.html.j2",
        found=found,
        summary=loop.summary(now),
        run=loop,
        recording=recording,
        sections=sections,
        states=states or {},
        alarms=tables.by_id(recording) if recording else {},
    )


def study_page(found: Found, study: Study, now: float) -> str:
    """A study: how far it is, what runs, what the ended trials say."""
    record, analysis = study.record, study.analysis
    charts: dict[str, Any] = {"learning": [], "slopes": [], "differences": None}
    if record and analysis:
        charts["learning"] = [chart for key in _LEARNING if (chart := curve_chart(record, key))]
        charts["slopes"] = slope_charts(record)
        charts["differences"] = difference_chart(record, analysis)
        _live([*charts["learning"], *charts["slopes"], *filter(None, [charts["differences"]])])
    return _render(
        "study.html.j2",
        found=found,
        summary=study.summary(now),
        study=study,
        record=record,
        metric=record.primary if record else None,
        analysis=analysis,
        primary={contrast.arm: contrast for contrast in analysis.primary} if analysis else {},
        styles=arm_styles(record.arms, record.control) if record else {},
        running=Counter(trial.arm for trial in study.trials),
        epochs=(record.spec.get("train") or {}).get("epochs") if record else None,
        alarm_rows=list(alarm_rows(analysis.alarms)) if analysis else [],
        damage_note=damage_note(record.damaged) if record and record.damaged else "",
        failed=[trial for trial in record.trials if trial.status == "failed"] if record else [],
        sentence=sentence,
        **charts,
    )


def asset(room: str, name: str) -> bytes:
    """A script or stylesheet of "drawing" or "live"."""
    return files(f"slopewise.{room}").joinpath("templates", name).read_bytes()


def _live(charts: Sequence[Chart]) -> None:
    """Let a figure that is drawn again keep what its reader has zoomed to."""
    for chart in charts:
        chart.figure.layout.uirevision = chart.key


def _render(template: str, **context: Any) -> str:
    return _templates().get_template(template).render(**context)


@cache
def _templates() -> Environment:
    shared: Environment = report_templates()
    environment = shared.overlay(
        loader=ChoiceLoader([PackageLoader("slopewise.live"), shared.loader or ChoiceLoader([])])
    )
    environment.filters = {**shared.filters, "iso": _iso}
    return environment


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
