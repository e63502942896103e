"""Learning curves with interval bands."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping

from slopewise.analysis._intervals import mean_interval
from slopewise.analysis._pairs import finished_trials, finite
from slopewise.analysis._results import Curve
from slopewise.analysis._sites import Fraction, unit_weighted
from slopewise.errors import nearest
from slopewise.records import MetricRecord, Part, StudyRecord, TrialRecord

_Values = Callable[[TrialRecord], Mapping[int, float | None]]  # the values of a trial by epoch


def _values_of(study: StudyRecord) -> dict[str, _Values]:
    """Return the figures over training that a study has, by name."""
    parts: tuple[Part, ...] = ("validation", "train")
    scores = {f"{part}_{metric.name}": _scores(part, metric) for metric in study.metrics for part in parts}
    return {**scores, "zero_gradient": _units("zero_gradient"), "never_positive": _units("never_positive")}


def _scores(part: Part, metric: MetricRecord) -> _Values:
    def values(trial: TrialRecord) -> dict[int, float | None]:
        curve = trial.curve(part, metric.name)
        return {epoch: None if score is None else metric.scale * score for epoch, score in curve.items()}

    return values


def _units(fraction: Fraction) -> _Values:
    def values(trial: TrialRecord) -> dict[int, float | None]:
        return unit_weighted(trial, fraction)

    return values


def curves(study: StudyRecord, value: str) -> dict[str, Curve]:
    """Return a figure over training for each arm: its mean over converged seeds with the 95 % interval of the mean.

    Args:
        study: Records so far.
        value: "zero_gradient" or "never_positive", in percent of all units of the network; or a metric on a part of the
            data, in print's unit: "validation_accuracy", "train_loss", ...

    Returns:
        Curves by arm, in the study's order; an arm without a converged trial has an empty curve.

    Raises:
        ValueError: There is no such figure.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> curve = curves(synthetic_study(epochs=3), "validation_accuracy")["relu"]
        >>> curve.epochs, [round(accuracy) for accuracy in curve.mean], curve.n
        ((0, 1, 2, 3), [9, 83, 93, 94], (10, 10, 10, 10))
    """
    known = _values_of(study)
    if value not in known:
        raise ValueError(f"no curve of {value!r}: {nearest(value, known)}")
    trials = finished_trials(study)
    return {
        arm: _curve(arm, [trial for trial in trials[arm].values() if not trial.diverged], known[value])
        for arm in study.arms
    }


def _curve(arm: str, trials: list[TrialRecord], values: _Values) -> Curve:
    points: dict[tuple[int, int], list[float]] = defaultdict(list)
    for trial in trials:
        by_epoch = values(trial)
        for point in zip(*trial.columns("epochs", "epoch", "step"), strict=True):
            figure = by_epoch.get(point[0])
            if figure is not None and finite(figure):
                points[point].append(figure)
    ordered = sorted(points)
    figures = [points[point] for point in ordered]
    bands = [mean_interval(each) if len(each) > 1 else (None, None) for each in figures]
    return Curve(
        arm=arm,
        steps=tuple(step for _, step in ordered),
        epochs=tuple(epoch for epoch, _ in ordered),
        mean=tuple(statistics.fmean(each) for each in figures),
        low=tuple(None if low is None else float(low) for low, _ in bands),
        high=tuple(None if high is None else float(high) for _, high in bands),
        n=tuple(len(each) for each in figures),
    )
