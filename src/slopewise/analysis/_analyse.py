"""Entry point: from records to the analysis."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from slopewise.analysis._alarms import arm_alarms
from slopewise.analysis._arms import summarise
from slopewise.analysis._basis import basis_of
from slopewise.analysis._contrasts import contrasts
from slopewise.analysis._looks import seeds_of_arms
from slopewise.analysis._metrics import metrics_of, primary_metric
from slopewise.analysis._pairing import pairing
from slopewise.analysis._pairs import finished_trials
from slopewise.analysis._results import Analysis
from slopewise.records import StudyRecord, TrialRecord


def analyse(study: StudyRecord) -> Analysis:
    """Analyse the records of a study so far; parts that are missing give None or empty fields, never an error.

    In an adaptive study, only the primary contrasts are judged look by look (`Contrast.look`). The other contrasts are
    exploratory, and analysed as if the number of seeds had been fixed.

    The method, its measured error rates and its limits are in docs/statistics.md.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "prelu_channel"), effects={"prelu_channel": 2.0})
        >>> contrast = analyse(study).primary[0]
        >>> contrast.verdict, round(contrast.difference, 2), round(contrast.p, 4)
        ('helps', 2.19, 0.002)
    """
    basis, task = basis_of(study), study.primary
    target = _target(study, basis.trials[study.control])
    primary = primary_metric(study)
    chance = None if task.chance is None else task.scale * task.chance
    judged = contrasts(study, primary, margin=study.margin, chance=chance, looks=study.looks, basis=basis)
    return Analysis(
        control=study.control,
        metric=task,
        margin=study.margin,
        arms=summarise(study, seeds_of_arms(study, judged), basis.trials),
        primary=judged,
        converged=contrasts(study, primary, margin=study.margin, basis=basis),
        secondary=tuple(
            contrast
            for key, metric in metrics_of(study).items()
            if key != primary.key
            for contrast in contrasts(study, metric, target=target, basis=basis)
        ),
        target=None if target is None else task.scale * target,
        pairing=pairing(study),
        alarms=arm_alarms(study),
        cautions=basis.cautions,
    )


def validation_target(study: StudyRecord) -> float | None:
    """Return the control's median final validation score over its converged seeds; diverged ones have none."""
    return _target(study, finished_trials(study)[study.control])


def _target(study: StudyRecord, control: Mapping[int, TrialRecord]) -> float | None:
    scores = [trial.score("validation", study.primary.name) for trial in control.values()]
    known = [score for score in scores if score is not None]
    return statistics.median(known) if known else None
