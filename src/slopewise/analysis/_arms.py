"""Figures of each arm alone."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

from slopewise.analysis._pairs import finished_trials
from slopewise.analysis._results import ArmSummary, LayerSlopes
from slopewise.records import SiteRecord, StudyRecord, TrialRecord


def summarise(study: StudyRecord, seeds: Mapping[str, int] | None = None) -> tuple[ArmSummary, ...]:
    """Return a summary of each arm, in the study's order.

    Args:
        study: Records of the study.
        seeds: Planned number of seeds of each arm, from `seeds_of_arms`; by default, all seeds of the study.
    """
    trials = finished_trials(study)
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
    layers: dict[str, list[SiteRecord]] = defaultdict(list)
    for trial in trials:
        last = max((site.epoch for site in trial.sites), default=0)
        for site in trial.sites:
            if site.epoch == last and site.slopes:
                layers[site.layer].append(site)
    return tuple(
        LayerSlopes(
            layer,
            low=min(site.slope_min for site in sites if site.slope_min is not None),
            median=statistics.median(site.slope_median for site in sites if site.slope_median is not None),
            high=max(site.slope_max for site in sites if site.slope_max is not None),
        )
        for layer, sites in layers.items()
    )
