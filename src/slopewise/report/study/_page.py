"""Page of a study as one offline HTML file, and what it shares with the live page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from slopewise.analysis import describe, metrics_of, sentence, tuning, verdict_words
from slopewise.drawing import render_page, write_page
from slopewise.records import StudyRecord, amount
from slopewise.report.study._claims import finding_lines
from slopewise.report.study._paragraph import paragraph_of
from slopewise.report.study._verdicts import OUTCOME_SYMBOLS, VERDICT_SYMBOLS
from slopewise.report.study.charts import StudyCharts
from slopewise.report.study.info._classes import class_tables
from slopewise.report.study.info._ledger import arms_words, ends_words, figure_words, ledger_info
from slopewise.report.study.info._looks import decided_words
from slopewise.report.study.info._origin import device_words
from slopewise.report.study.info._protocol import protocol
from slopewise.report.study.info._slopes import slope_table
from slopewise.report.study.info._study import StudyInfo, missing_words, pairs_words, study_info
from slopewise.report.study.info._tuning import tuning_rows
from slopewise.support.citation import bibtex, version

STUDY_TEMPLATES = "slopewise.report.study"  # package of the templates


def study_context(info: StudyInfo, *, live: bool = False) -> dict[str, Any]:
    """Return the variables that the templates of the offline page and of the live page share.

    Args:
        info: Facts about the study.
        live: True if the page redraws its charts while it is open.
    """
    return {
        "info": info,
        "study": info.study,
        "analysis": info.analysis,
        "metric": info.study.primary,
        "charts": StudyCharts(info, live=live),
        "sentence": sentence,
        "amount": amount,
        "verdict_words": verdict_words,
        "symbols": VERDICT_SYMBOLS,
        "pairs_words": pairs_words,
        "missing_words": missing_words,
        "design": _design(info),
        "column": _column(info.study),
        "decided_words": decided_words,
        "describe": describe,
        "activations": {arm.get("activation") for arm in info.study.arm_tables.values()},
        "seed_names": lambda trials: [info.study.seed_name(trial.seed) for trial in trials],
    }


def _design(info: StudyInfo) -> str:
    """Return "pairs", "runs" or "both": how the arms are compared with the control."""
    paired = {contrast.paired for contrast in info.analysis.primary} or {info.study.paired}
    return "both" if len(paired) > 1 else "pairs" if paired.pop() else "runs"


def _column(study: StudyRecord) -> str:
    """Return the title of the primary metric as a heading; the name of a table's column stays as it is."""
    title = study.titled(study.primary)
    return title[0].upper() + title[1:] if study.tested else title


def _cited(study: StudyRecord) -> str:
    """Return the version that the trials ran with; the present one if they ran with several, or with none."""
    versions = {str(facts["slopewise"]) for facts in study.environments.values() if facts.get("slopewise")}
    return versions.pop() if len(versions) == 1 else version()


def write_html(study: StudyRecord, path: str | os.PathLike[str]) -> Path:
    """Write the page of a study: one file that needs no network, no server and no other file.

    Args:
        study: Records so far; the page of a partial study says what is missing.
        path: File to write. It appears whole or not at all; an existing one is replaced.

    Returns:
        The path.

    Raises:
        OSError: The folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> from slopewise.testing import synthetic_study
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_html(synthetic_study(seeds=2, epochs=2), f"{folder}/report.html").name
        'report.html'
    """
    return write_page(render_html(study), path)


def render_html(study: StudyRecord) -> str:
    """Return the page of `write_html` as text.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> render_html(synthetic_study(seeds=2, epochs=2))[:15]
        '<!doctype html>'
    """
    info = study_info(study)
    context = study_context(info)
    return render_page(
        "report.html.j2",
        STUDY_TEMPLATES,
        metrics=metrics_of(study),
        slope_rows=slope_table(context["charts"].slope_paths),
        class_tables=class_tables(study),
        protocol=protocol(study),
        device_words=device_words,
        ledger=ledger_info(study),
        paragraph=paragraph_of(info),
        citation=bibtex(_cited(study)),
        tuning_rows=tuning_rows(study, tuning(study)),
        outcome_symbols=OUTCOME_SYMBOLS,
        figure_words=figure_words,
        ends_words=ends_words,
        arms_words=arms_words,
        finding_lines=finding_lines,
        **context,
    )
