"""Figures of each arm alone."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

from slopewise.analysis._pairs import finished_trials
from slopewise.analysis._results import ArmSummary, LayerSlopes
from slopewise.analysis._sites import final_slopes
from slopewise.records import StudyRecord, TrialRecord


def summarise(
    study: StudyRecord,
    seeds: Mapping[str, int] | None = None,
    trials: Mapping[str, Mapping[int, TrialRecord]] | None = None,
) -> tuple[ArmSummary, ...]:
    """Return a summary of each arm, in the study's order.

    Args:
        study: Records of the study.
        seeds: Planned number of seeds of each arm, from `seeds_of_arms`; by default, all seeds of the study.
        trials: Finished trials by arm and seed; by default they are taken from the study.
    """
    trials = finished_trials(study) if trials is None else trials
    planned = seeds or dict.fromkeys(study.arms, len(study.seeds))
    return tuple(_summary(study, arm, trials[arm], trials[study.control], planned[arm]) for arm in study.arms)


def _summary(
    study: StudyRecord,
    arm: str,
    trials: Mapping[int, TrialRecord],
    control: Mapping[int, TrialRecord],
    planned: int,
) -> ArmSummary:
    failed = sum(trial.arm == arm and trial.status == "failed" for trial in study.trials)
    converged = [trial for trial in trials.values() if not trial.diverged]
    metric = study.primary
    tested = [trial.score("test", metric.name) for trial in converged]
    scores = [metric.scale * score for score in tested if score is not None]
    diverged = len(trials) - len(converged)
    with_chance = scores + ([] if metric.chance is None else [metric.scale * metric.chance] * diverged)
    times = {trial.seed: trial.seconds_per_step for trial in converged if trial.seconds_per_step}
    ratios = [
        time / base
        for seed, time in times.items()
        if seed in control
        and not control[seed].diverged
        and control[seed].environment == trials[seed].environment
        and (base := control[seed].seconds_per_step)
    ]
    cost_ratio = statistics.median(ratios) if ratios else None
    stock_ratio, stock_reason = _stock(trials.values())
    return ArmSummary(
        arm=arm,
        finished=len(trials),
        failed=failed,
        diverged=diverged,
        missing=max(0, planned - len(trials) - failed) if study.paired else 0,
        score_mean=statistics.fmean(with_chance) if with_chance else None,
        score_sd=statistics.stdev(with_chance) if len(with_chance) > 1 else None,
        converged_score_mean=statistics.fmean(scores) if scores else None,
        seconds_per_step=statistics.median(times.values()) if times else None,
        cost_ratio=cost_ratio,
        stock_ratio=stock_ratio,
        stock_cost_ratio=None if cost_ratio is None or stock_ratio is None else cost_ratio * stock_ratio,
        stock_reason=stock_reason,
        slopes=_final_slopes(converged),
    )


def _stock(trials: Iterable[TrialRecord]) -> tuple[float | None, str | None]:
    """Return the ratio of step times with stock PyTorch and with the kernels, or the reason why there is none.

    A study that gains seeds may have measured it several times.
    """
    costs = [cost for trial in trials for cost in trial.operator_costs]
    if ratios := [cost.stock_ratio for cost in costs if cost.stock_ratio is not None]:
        return statistics.median(ratios), None
    return None, next((cost.reason for cost in costs), None)


def _final_slopes(trials: list[TrialRecord]) -> tuple[LayerSlopes, ...]:
    layers: dict[str, list[tuple[float | None, ...]]] = defaultdict(list)
    for trial in trials:
        for layer, *ends in final_slopes(trial, "layer", "slope_min", "slope_median", "slope_max"):
            layers[layer].append(tuple(ends))
    return tuple(
        LayerSlopes(
            layer,
            low=min(low for low, _, _ in sites if low is not None),
            median=statistics.median(median for _, median, _ in sites if median is not None),
            high=max(high for _, _, high in sites if high is not None),
        )
        for layer, sites in layers.items()
    )
