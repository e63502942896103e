"""Pages of the server: the listing, and one for each run, complete and readable without scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from slopewise.drawing import templates, typeset
from slopewise.live._folder import Entry
from slopewise.live._loop import Loop
from slopewise.live._state import STATES, Summary
from slopewise.live._study import Study
from slopewise.report import STUDY_TEMPLATES, WATCH_TEMPLATES, study_context, watch_context


def index_page(folder: Path, rows: Sequence[tuple[Entry, Summary]], *, cut: bool, there: bool) -> str:
    """Return the listing, with the runs that are going on first."""
    order = sorted(rows, key=lambda row: (STATES.index(row[1].state), row[0].name))
    return _render("index.html.j2", folder=folder.absolute(), rows=order, cut=cut, there=there)


def loop_page(entry: Entry, loop: Loop, now: float) -> str:
    """Return the page of a watched loop: its alarms and all charts of its recording."""
    recording = loop.recording
    return _render(
        "loop.html.j2",
        entry=entry,
        summary=loop.summary(now),
        run=loop,
        **(watch_context(recording, live=True) if recording else {"info": None}),
    )


def study_page(entry: Entry, study: Study, now: float) -> str:
    """Return the page of a study: its progress, its running trials, and the results of the ended ones."""
    info = study.info
    return _render(
        "study.html.j2",
        entry=entry,
        summary=study.summary(now),
        run=study,
        running=Counter(trial.arm for trial in study.trials if not trial.cell),
        epochs=_epochs(info.study.spec.get("train") or {}) if info else None,
        **(study_context(info, live=True) if info else {"info": None}),
    )


def _render(template: str, **context: Any) -> str:
    return typeset(_templates().get_template(template).render(**context))


@cache
def _templates() -> Environment:
    return templates("slopewise.live", STUDY_TEMPLATES, WATCH_TEMPLATES, iso=_iso)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _epochs(train: Mapping[str, Any]) -> int | None:
    """Return the number of epochs of each trial; None for a training function, whose end only it knows."""
    return None if train.get("function") else train.get("epochs")
