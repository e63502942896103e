"""Tuned learning rates: for each arm, the score of every rate that was tried, and the chosen rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from slopewise.records import CellRecord, MetricRecord, StudyRecord, TrialRecord

_DIGITS = 6  # decimals of a score in the printed unit: far below the worth of one image
Edge = Literal["lowest", "highest"]


@dataclass(frozen=True, slots=True)
class ArmTuning:
    """Tuning of one arm's learning rate.

    Attributes:
        arm: Name of the arm.
        rates: Learning rates in the order in which they were tried, the same for all arms.
        scores: Mean final validation score at each rate, in the printed unit of the primary metric; diverged trials
            count as the metric's floor. None if no trial has finished, or if one diverged and the metric has no floor.
        best_so_far: Best score among the rates up to and including each rate; None before the first score.
        diverged: Number of diverged trials at each rate.
        rate: Learning rate of the arm in the study; None without a score.
        edge: Edge of the range of tried rates at which that rate lies; None if it lies inside.
        passed_over: Rate with the best score, if it was passed over because trials diverged at it, at a lower rate, or
            at the next higher rate; else None.
    """

    arm: str
    rates: tuple[float, ...]
    scores: tuple[float | None, ...]
    best_so_far: tuple[float | None, ...]
    diverged: tuple[int, ...]
    rate: float | None
    edge: Edge | None
    passed_over: float | None = None


def tuning(study: StudyRecord) -> tuple[ArmTuning, ...]:
    """Return the tuning of each tuned arm; empty for a study without tuning.

    The rate with the best mean score is chosen. With `tune.stable`, the lowest rate at which a trial diverged, the next
    lower rate, and all higher rates are passed over; if no rate is left, the lowest one is chosen, which lies at an
    edge.

    Equal scores are common, because validation parts are small; scores that differ only by rounding count as equal.
    Among equal scores, rates inside the range are preferred to its edges, and then the lowest rate, which is the least
    likely to diverge.

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
    """Return the tuning of one arm, from cells that set `train.lr` alone; see `tuning`."""
    by_rate = {
        float(cell.settings["train.lr"]): [
            trial for trial in cell.trials if trial.arm == arm and trial.status == "finished"
        ]
        for cell in cells
        if arm in cell.arms
    }
    sign = 1.0 if metric.better == "higher" else -1.0
    scores = {rate: _mean([_score(trial, metric) for trial in trials]) for rate, trials in by_rate.items()}
    edges: dict[float, Edge] = {min(by_rate): "lowest", max(by_rate): "highest"} if by_rate else {}
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
        edge=None if best is None else edges.get(best),
        passed_over=None if first == best else first,
    )


def _away_from_divergence(diverged: Mapping[float, int]) -> set[float]:
    """Return the rates more than one step below the lowest diverged rate; at least the lowest rate."""
    rates = sorted(diverged)
    first = next((number for number, rate in enumerate(rates) if diverged[rate]), None)
    return set(rates if first is None else rates[: max(first - 1, 1)])


def _score(trial: TrialRecord, metric: MetricRecord) -> float | None:
    score = metric.chance if trial.diverged else trial.score("validation", metric.name)
    return None if score is None or not math.isfinite(score) else metric.scale * score


def _mean(scores: list[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if known and len(known) == len(scores) else None
