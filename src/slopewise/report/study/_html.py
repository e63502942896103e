"""A study as one offline HTML file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slopewise.analysis import analyse, metrics_of, sentence
from slopewise.drawing import arm_styles, render_page, write_page
from slopewise.records import StudyRecord
from slopewise.report.study._alarms import alarm_rows
from slopewise.report.study._cost import cost_chart
from slopewise.report.study._differences import difference_chart
from slopewise.report.study._figures import curve_chart, gradient_chart, slope_charts, slope_table
from slopewise.report.study._operators import operator_notes
from slopewise.report.study._status import damage_note
from slopewise.report.study._toml import to_toml

_LEARNING = ("accuracy", "late-accuracy", "train-loss", "validation-loss")
_DEAD = ("never-positive", "zero-gradient")


def write_html(study: StudyRecord, path: str | os.PathLike[str]) -> Path:
    """Write the study's page: one file that needs no network, no server and no other file.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Args:
        study: the records so far; a partial study gives a page that says what is missing.
        path: the file; an existing one is replaced.

    Returns:
        the path.

    Raises:
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> from slopewise.testing import synthetic_study
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_html(synthetic_study(seeds=2, epochs=2), f"{folder}/report.html").name
        'report.html'
    """
    return write_page(render_html(study), path)


def render_html(study: StudyRecord) -> str:
    """The page of `write_html` as text.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> render_html(synthetic_study(seeds=2, epochs=2))[:15]
        '<!doctype html>'
    """
    analysis = analyse(study)
    return render_page(
        "report.html.j2",
        study=study,
        analysis=analysis,
        primary={contrast.arm: contrast for contrast in analysis.primary},
        converged={contrast.arm: contrast for contrast in analysis.converged},
        styles=arm_styles(study.arms, study.control),
        metrics=metrics_of(study),
        metric=study.primary,
        differences=difference_chart(study, analysis),
        learning=[curve_chart(study, value) for value in _LEARNING],
        dead=[curve_chart(study, value) for value in _DEAD],
        slopes=slope_charts(study),
        slope_rows=slope_table(study),
        cost=cost_chart(study, analysis),
        operator_notes=operator_notes(analysis),
        gradients=gradient_chart(study),
        alarm_rows=list(alarm_rows(analysis.alarms)),
        diverged=[trial for trial in study.trials if trial.diverged],
        failed=[trial for trial in study.trials if trial.status == "failed"],
        damage_note=damage_note(study.damaged) if study.damaged else "",
        planned=len(study.arms) * len(study.seeds),
        settings=list(_flat({key: value for key, value in study.spec.items() if isinstance(value, Mapping)})),
        treatments=[_treatment(arm) for arm in study.spec.get("arms", ())],
        data=list(_flat(study.data)),
        environments={digest: list(_flat(facts)) for digest, facts in study.environments.items()},
        toml=to_toml(study.spec),
        sentence=sentence,
    )


def _treatment(arm: Mapping[str, Any] | str) -> tuple[str, str]:
    """An arm of the spec as its name and, in words, its activation with what is set for it alone."""
    if isinstance(arm, str):
        return arm, arm
    own = [f"{key} = {text}" for key, text in _flat({k: v for k, v in arm.items() if k not in ("name", "activation")})]
    return arm["name"], ", ".join([arm["activation"], *own])


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested plain data as rows of dotted key and text."""
    for key, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            shown = ", ".join(map(str, value[:20]))
            yield f"{prefix}{key}", f"{shown}, … ({len(value)} in all)" if len(value) > 20 else shown
        elif value is not None:
            yield f"{prefix}{key}", str(value)
