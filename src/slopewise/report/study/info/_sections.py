"""Sections of a study's page: those whose records the study has."""

from __future__ import annotations

from slopewise.analysis import Analysis
from slopewise.records import StudyRecord

TITLES = {
    "answer": "Answer",
    "seeds": "Seeds",
    "factors": "Factors",
    "map": "Sensitivity",
    "tuning": "Tuning",
    "learning": "Learning",
    "slopes": "Slopes",
    "dead": "Dead units",
    "time": "Cost",
    "secondary": "Other measures",
    "gradient": "Gradients",
    "alarms": "Alarms",
    "trouble": "Diverged and failed",
    "paragraph": "For a paper",
    "protocol": "Protocol",
    "glossary": "Glossary",
}


def sections(study: StudyRecord, analysis: Analysis) -> dict[str, str]:
    """Return the sections that a page of these records has, as titles by id, in their order on the page.

    A section appears once a trial has recorded what it shows. So the page of a study that has just begun is short, and
    that of a table of results has neither learning curves nor slopes.

    Example:
        >>> from dataclasses import replace
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = replace(synthetic_study(seeds=2), trials=())
        >>> list(sections(study, analyse(study)))
        ['answer', 'seeds', 'protocol', 'glossary']
    """
    trials = study.trials
    sites = any(trial.columns("sites", "epoch")[0] for trial in trials)
    epochs = any(trial.columns("epochs", "epoch")[0] for trial in trials)
    roles = {role for cell in study.cells if cell.trials for role in cell.roles}
    present = {
        "factors": "factors" in roles,
        "map": "map" in roles,
        "tuning": "tune" in roles,
        "learning": epochs,
        "slopes": any(any(trial.columns("sites", "slopes")[0]) for trial in trials),
        "dead": sites,
        "time": any(trial.seconds_per_step is not None for trial in trials),
        "secondary": any(contrast.seeds for contrast in analysis.secondary),
        "gradient": any(trial.columns("gradients", "epoch")[0] for trial in trials),
        "alarms": bool(analysis.alarms) or sites or any(trial.monitor_seconds is not None for trial in trials),
        "paragraph": any(contrast.seeds for contrast in analysis.primary),
        "trouble": epochs or any(trial.diverged or trial.status == "failed" for trial in trials),
    }
    titles = TITLES if study.tested else TITLES | {"trouble": "Without a value"}
    return {key: title for key, title in titles.items() if present.get(key, True)}
