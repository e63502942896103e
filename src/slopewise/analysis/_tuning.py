"""Learning rates tuned for each arm: the scores of every rate that was tried, and the best of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from slopewise.records import CellRecord, MetricRecord, StudyRecord, TrialRecord

_DIGITS = 6  # of a score in print's unit, far below one image


@dataclass(frozen=True, slots=True)
class ArmTuning:
    """Tuning of one arm's learning rate.

    Attributes:
        arm: Name of the arm.
        rates: Learning rates in the order in which they were tried, the same for all arms.
        scores: Mean final validation score at each rate, in print's unit of the primary metric; diverged trials count
            with the metric's floor. None where no trial has finished, or one diverged and the metric has no floor.
        best_so_far: Best score among the rates up to each one; None before the first score.
        diverged: Number of trials that diverged at each rate.
        rate: Learning rate of the arm in the study; None without a score.
        edge: Edge of the tried range at which that rate lies; None inside.
        passed_over: Rate with a better score that was passed over because trials diverged there, at a lower rate, or at
            the next higher one; None if there is none.
    """

    arm: str
    rates: tuple[float, ...]
    scores: tuple[float | None, ...]
    best_so_far: tuple[float | None, ...]
    diverged: tuple[int, ...]
    rate: float | None
    edge: Literal["lowest", "highest"] | None
    passed_over: float | None = None


def tuning(study: StudyRecord) -> tuple[ArmTuning, ...]:
    """Return the tuning of each arm that was tuned; none for a study that tunes nothing.

    The rate with the best mean score is taken. With `tune.stable`, rates from the next lower neighbour of the lowest
    diverged rate on are passed over; if that leaves none, the lowest rate is taken, which is at an edge. Among equal
    scores, a rate inside the range is preferred to its edges, then the lowest one, which is the safest from divergence.
    Validation parts are small, so that equal scores are common; sums that differ by rounding are equal.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> tuning(synthetic_study())
        ()
    """
    cells = study.cells_of("tune")
    arms = dict.fromkeys(arm for cell in cells for arm in cell.arms)
    stable = bool((study.spec.get("tune") or {}).get("stable", False))
    return tuple(tuned(arm, cells, study.primary, stable=stable) for arm in arms)


def tuned(arm: str, cells: Iterable[CellRecord], metric: MetricRecord, *, stable: bool) -> ArmTuning:
    """Return the tuning of one arm, from cells whose setting is `train.lr`; see `tuning`."""
    by_rate = {
        float(cell.settings["train.lr"]): [trial for trial in cell.trials if trial.arm == arm and _counts(trial)]
        for cell in cells
        if arm in cell.arms
    }
    sign = 1.0 if metric.better == "higher" else -1.0
    scores = {rate: _mean([_score(trial, metric) for trial in trials]) for rate, trials in by_rate.items()}
    edges = {min(by_rate): "lowest", max(by_rate): "highest"} if by_rate else {}
    known = {rate: score for rate, score in scores.items() if score is not None}
    diverged = {rate: sum(trial.diverged for trial in trials) for rate, trials in by_rate.items()}
    away = _away_from_divergence(diverged) if stable else set(by_rate)

    def order(rate: float) -> tuple[float, bool, float]:
        return round(sign * known[rate], _DIGITS), rate not in edges, -rate

    first = max(known, key=order, default=None)
    best = max(known.keys() & away, key=order, default=first)
    so_far, bests = None, list[float | None]()
    for score in scores.values():
        if score is not None and (so_far is None or sign * score > sign * so_far):
            so_far = score
        bests.append(so_far)
    return ArmTuning(
        arm=arm,
        rates=tuple(by_rate),
        scores=tuple(scores.values()),
        best_so_far=tuple(bests),
        diverged=tuple(diverged.values()),
        rate=best,
        edge=None if best is None else edges.get(best),  # type: ignore[arg-type]
        passed_over=None if first == best else first,
    )


def _away_from_divergence(diverged: Mapping[float, int]) -> set[float]:
    """Return the rates below the neighbour of the lowest rate that diverged; the lowest rate, if there are none."""
    rates = sorted(diverged)
    first = next((place for place, rate in enumerate(rates) if diverged[rate]), None)
    return set(rates if first is None else rates[: max(first - 1, 1)])


def _counts(trial: TrialRecord) -> bool:
    return trial.status == "finished"


def _score(trial: TrialRecord, metric: MetricRecord) -> float | None:
    score = metric.chance if trial.diverged else trial.score("validation", metric.name)
    return None if score is None or not math.isfinite(score) else metric.scale * score


def _mean(scores: list[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if known and len(known) == len(scores) else None
