"""What is measured on a trial, and in which direction it is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from slopewise.records import SiteRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a converged trial.

    Attributes:
        key, title, unit: its names in code and in print, and its unit.
        better: which direction helps.
        digits: decimals worth printing.
        measure: (trial, target) -> value in `unit`, or None where the trial has none. `target` is the validation
            accuracy, a fraction, that `steps_to_target` waits for; None where the control has not set it.
        limit: largest value that was observed; one beyond it is only a lower bound (censored).
        span: Largest difference that is possible; intervals end there.
        same_environment: Whether only trials that ran in one environment can be compared, as for times.
    """

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    measure: Callable[[TrialRecord, float | None], float | None]
    limit: Callable[[TrialRecord], float] | None = None
    span: float = math.inf
    same_environment: bool = False


def unit_weighted(
    sites: Sequence[SiteRecord], fraction: Literal["never_positive", "zero_gradient"], epoch: int
) -> float | None:
    """Percentage of all units of the network after an epoch: layers weigh by their units, not equally.

    Layers that have no such fraction (no gradient can flow there) are left out.
    """
    found = [(getattr(site, fraction), site.units) for site in sites if site.epoch == epoch]
    layers = [(value, units) for value, units in found if value is not None and math.isfinite(value)]
    total = sum(units for _, units in layers)
    return 100 * math.fsum(value * units for value, units in layers) / total if total else None


def _test_accuracy(trial: TrialRecord, _: float | None) -> float | None:
    return None if trial.test_accuracy is None else 100 * trial.test_accuracy


def _steps_to_target(trial: TrialRecord, target: float | None) -> float | None:
    if target is None or not trial.epochs:
        return None
    for record in trial.epochs:
        if record.validation_accuracy is not None and record.validation_accuracy >= target:
            return float(record.step)
    last = trial.epochs[-1]
    return last.step + last.step / last.epoch if last.epoch else None  # censored: one epoch beyond the end


def _train_loss(trial: TrialRecord, _: float | None) -> float | None:
    return trial.train_loss


def _generalisation_gap(trial: TrialRecord, _: float | None) -> float | None:
    if trial.train_accuracy is None or trial.test_accuracy is None:
        return None
    return 100 * (trial.train_accuracy - trial.test_accuracy)


def _milliseconds_per_step(trial: TrialRecord, _: float | None) -> float | None:
    return None if trial.seconds_per_step is None else 1000 * trial.seconds_per_step


def _zero_gradient(trial: TrialRecord, _: float | None) -> float | None:
    last = max((site.epoch for site in trial.sites), default=0)
    return unit_weighted(trial.sites, "zero_gradient", last)


PRIMARY = Metric("test_accuracy", "test accuracy", "points", "higher", 2, _test_accuracy, span=100.0)

_SECONDARY = (
    Metric("steps_to_target", "steps to target", "steps", "lower", 0, _steps_to_target, lambda trial: trial.steps),
    Metric("train_loss", "final training loss", "nats", "lower", 4, _train_loss),
    Metric("generalisation_gap", "generalisation gap", "points", "lower", 2, _generalisation_gap, span=200.0),
    Metric("seconds_per_step", "time per step", "ms", "lower", 2, _milliseconds_per_step, same_environment=True),
    Metric("zero_gradient", "zero-gradient units", "points", "lower", 1, _zero_gradient),
)

METRICS = {metric.key: metric for metric in (PRIMARY, *_SECONDARY)}
"""Every metric by key: the primary one first, then the exploratory ones."""
