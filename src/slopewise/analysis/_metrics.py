"""Metrics of a converged trial, and the direction in which each is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from slopewise.analysis._sites import last_percentage
from slopewise.records import MetricRecord, Part, StudyRecord, TrialRecord

Measure = Callable[[TrialRecord, float | None], float | None]
Margin = Callable[[Sequence[float]], float | None]
_LOSS, _TIME, _UNITS = 0.05, 0.02, 1.0  # differences that matter: share of the loss, share of the time, points of units
STEPS = 0.05  # share of the steps, or of the time, to the target


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
        margin: Function (values of the control) -> smallest difference that matters, in `unit`. None if the metric has
            none of its own: the primary one's is that of the study.
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
    margin: Margin | None = None


def share_of_control(share: float) -> Margin:
    """Return a margin that is a fraction of the control's mean."""

    def margin(control: Sequence[float]) -> float | None:
        return abs(share * sum(control) / len(control)) or None if control else None

    return margin


def unit_metric(key: str, title: str, measure: Measure) -> Metric:
    """Return a metric that is a percentage of all units of the network."""
    return Metric(key, title, "points", "lower", 1, measure, span=100.0, margin=lambda _: _UNITS)


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
        "steps_to_target",
        "steps to target",
        "steps",
        "lower",
        0,
        _steps_to_target(primary),
        lambda trial: trial.steps,
        margin=share_of_control(STEPS),
    )
    for loss in filter(is_loss, study.metrics):
        title, measure = "final training loss", _score("train", loss)
        margin = share_of_control(_LOSS)
        yield Metric("train_loss", title, loss.unit, "lower", loss.digits, measure, margin=margin)
    yield Metric(
        "generalisation_gap",
        "generalisation gap",
        primary.unit,
        "lower",
        primary.digits,
        _generalisation_gap(primary),
        span=2 * _span(primary),
        margin=lambda _: study.margin,
    )
    margin, measure = share_of_control(_TIME), _milliseconds_per_step
    yield Metric("seconds_per_step", "time per step", "ms", "lower", 2, measure, same_environment=True, margin=margin)
    yield unit_metric("zero_gradient", "zero-gradient units", _zero_gradient)
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
