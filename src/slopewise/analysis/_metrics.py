"""Metrics of a converged trial, and the direction in which each is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from slopewise.analysis._sites import last_percentage
from slopewise.records import MetricRecord, Part, StudyRecord, TrialRecord

Measure = Callable[[TrialRecord, float | None], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a converged trial.

    Attributes:
        key, title, unit: Name in code, name in print, and unit.
        better: Direction that is an improvement.
        digits: Number of decimals worth printing.
        measure: Function (trial, target) -> value in `unit`, or None if the trial has none. `target` is the
            validation score that `steps_to_target` waits for; None while the control has not set it.
        limit: Function (trial) -> largest value that was observed; a larger one is only a lower bound (censored).
        span: Largest possible difference; intervals end there.
        same_environment: True if only trials of one environment can be compared, as for times.
    """

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    measure: Measure
    limit: Callable[[TrialRecord], float] | None = None
    span: float = math.inf
    same_environment: bool = False


def primary_metric(study: StudyRecord) -> Metric:
    """Return the metric of the verdicts: the task's primary score on the test part.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> primary_metric(synthetic_study()).key
        'test_accuracy'
    """
    return _final_score(study, study.primary)


def metrics_of(study: StudyRecord) -> dict[str, Metric]:
    """Return every metric of a study by key: the primary one first, then the exploratory ones.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> [*metrics_of(synthetic_study())][:3]
        ['test_accuracy', 'steps_to_target', 'train_loss']
    """
    metrics = (primary_metric(study), *_exploratory(study))
    return {metric.key: metric for metric in metrics}


def is_loss(metric: MetricRecord) -> bool:
    """Return True for the task's loss, which every study records beside its metrics."""
    return metric.name == "loss"


def _exploratory(study: StudyRecord) -> Iterator[Metric]:
    finals = [_final_score(study, metric) for metric in study.metrics[1:] if not (study.tested and is_loss(metric))]
    if not study.tested:  # a table knows nothing of training but its columns
        yield from finals
        return
    primary = study.primary
    yield Metric(
        "steps_to_target", "steps to target", "steps", "lower", 0, _steps_to_target(primary), lambda trial: trial.steps
    )
    for loss in filter(is_loss, study.metrics):
        yield Metric("train_loss", "final training loss", loss.unit, "lower", loss.digits, _score("train", loss))
    yield Metric(
        "generalisation_gap",
        "generalisation gap",
        primary.unit,
        "lower",
        primary.digits,
        _generalisation_gap(primary),
        span=2 * _span(primary),
    )
    yield Metric("seconds_per_step", "time per step", "ms", "lower", 2, _milliseconds_per_step, same_environment=True)
    yield Metric("zero_gradient", "zero-gradient units", "points", "lower", 1, _zero_gradient)
    yield from finals


def _final_score(study: StudyRecord, metric: MetricRecord) -> Metric:
    return Metric(
        f"test_{metric.name}" if study.tested else metric.name,
        study.titled(metric),
        metric.unit,
        metric.better,
        metric.digits,
        _score("test", metric),
        span=_span(metric),
    )


def _span(metric: MetricRecord) -> float:
    """Return the largest possible difference between two scores, in print's unit."""
    return math.inf if metric.span is None else metric.scale * metric.span


def _score(part: Part, metric: MetricRecord) -> Measure:
    def measure(trial: TrialRecord, _: float | None) -> float | None:
        score = trial.score(part, metric.name)
        return None if score is None else metric.scale * score

    return measure


def _steps_to_target(metric: MetricRecord) -> Measure:
    def measure(trial: TrialRecord, target: float | None) -> float | None:
        epochs, steps = trial.columns("epochs", "epoch", "step")
        if target is None or not epochs:
            return None
        scores = trial.curve("validation", metric.name)
        for epoch, step in zip(epochs, steps, strict=True):
            score = scores.get(epoch)
            if score is not None and (score >= target if metric.better == "higher" else score <= target):
                return float(step)
        return steps[-1] + steps[-1] / epochs[-1] if epochs[-1] else None  # censored: one epoch beyond the end

    return measure


def _generalisation_gap(metric: MetricRecord) -> Measure:
    """Return the measure of the gap by which the score is worse on the test part than on the training part."""
    sign = 1 if metric.better == "higher" else -1

    def measure(trial: TrialRecord, _: float | None) -> float | None:
        train, test = trial.score("train", metric.name), trial.score("test", metric.name)
        return None if train is None or test is None else sign * metric.scale * (train - test)

    return measure


def _milliseconds_per_step(trial: TrialRecord, _: float | None) -> float | None:
    return None if trial.seconds_per_step is None else 1000 * trial.seconds_per_step


def _zero_gradient(trial: TrialRecord, _: float | None) -> float | None:
    return last_percentage(trial, "zero_gradient")
