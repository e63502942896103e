"""The one entry: records in, judgement out."""

from __future__ import annotations

import statistics

from slopewise.analysis._alarms import arm_alarms
from slopewise.analysis._arms import pairing, summarise
from slopewise.analysis._cautions import study_cautions, untrained_arms
from slopewise.analysis._contrasts import contrasts
from slopewise.analysis._metrics import METRICS, PRIMARY
from slopewise.analysis._pairs import finished_trials
from slopewise.analysis._results import Analysis
from slopewise.records import StudyRecord


def analyse(study: StudyRecord) -> Analysis:
    """Judge a study as far as it has come: what is missing becomes None or empty, never an error.

    The method, its measured error rates and its limits are in docs/statistics.md.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "prelu_channel"), effects={"prelu_channel": 2.0})
        >>> contrast = analyse(study).primary[0]
        >>> contrast.verdict, round(contrast.difference, 2), round(contrast.p, 4)
        ('helps', 2.19, 0.002)
    """
    target, trials = _target(study), finished_trials(study)
    return Analysis(
        control=study.control,
        margin=study.margin,
        arms=summarise(study),
        primary=contrasts(study, PRIMARY, margin=study.margin, chance=100 / study.classes),
        converged=contrasts(study, PRIMARY, margin=study.margin),
        secondary=tuple(
            contrast
            for metric in METRICS.values()
            if metric is not PRIMARY
            for contrast in contrasts(study, metric, target=target)
        ),
        target=None if target is None else 100 * target,
        pairing=pairing(study),
        alarms=arm_alarms(study),
        cautions=study_cautions(study, trials, untrained_arms(study, trials)),
    )


def _target(study: StudyRecord) -> float | None:
    """The control's median final validation accuracy over its converged seeds; diverged ones have none."""
    control = finished_trials(study)[study.control].values()
    scores = [trial.validation_accuracy for trial in control if trial.validation_accuracy is not None]
    return statistics.median(scores) if scores else None
