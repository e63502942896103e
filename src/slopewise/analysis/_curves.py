"""Learning curves with interval bands."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable

from slopewise.analysis._intervals import mean_interval
from slopewise.analysis._metrics import unit_weighted
from slopewise.analysis._pairs import finished_trials, finite
from slopewise.analysis._results import Curve
from slopewise.errors import nearest
from slopewise.records import EpochRecord, StudyRecord, TrialRecord


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


_VALUES: dict[str, Callable[[TrialRecord, EpochRecord], float | None]] = {
    "validation_accuracy": lambda _, record: _percent(record.validation_accuracy),
    "validation_loss": lambda _, record: record.validation_loss,
    "train_accuracy": lambda _, record: _percent(record.train_accuracy),
    "train_loss": lambda _, record: record.train_loss,
    "zero_gradient": lambda trial, record: unit_weighted(trial.sites, "zero_gradient", record.epoch),
    "never_positive": lambda trial, record: unit_weighted(trial.sites, "never_positive", record.epoch),
}


def curves(study: StudyRecord, value: str) -> dict[str, Curve]:
    """One figure over training, arm by arm: its mean over converged seeds and the 95 % interval of that mean.

    Args:
        study: the records so far.
        value: "validation_accuracy", "train_accuracy", "zero_gradient" or "never_positive", in percent (the
            last two of all units in the network), or "validation_loss" or "train_loss", in nats.

    Returns:
        by arm, in the study's order; an arm without a converged trial has an empty curve.

    Raises:
        ValueError: `value` is none of these.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> curve = curves(synthetic_study(epochs=3), "validation_accuracy")["relu"]
        >>> curve.epochs, [round(accuracy) for accuracy in curve.mean], curve.n
        ((0, 1, 2, 3), [9, 83, 93, 94], (10, 10, 10, 10))
    """
    if value not in _VALUES:
        raise ValueError(f"no curve of {value!r}: {nearest(value, _VALUES)}")
    trials = finished_trials(study)
    return {
        arm: _curve(arm, [trial for trial in trials[arm].values() if not trial.diverged], _VALUES[value])
        for arm in study.arms
    }


def _curve(arm: str, trials: list[TrialRecord], value: Callable[[TrialRecord, EpochRecord], float | None]) -> Curve:
    points: dict[tuple[int, int], list[float]] = defaultdict(list)
    for trial in trials:
        for record in trial.epochs:
            figure = value(trial, record)
            if figure is not None and finite(figure):
                points[record.epoch, record.step].append(figure)
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
