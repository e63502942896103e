"""Arm against control, paired by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from slopewise.analysis._cautions import contrast_cautions, study_cautions, untrained_arms
from slopewise.analysis._intervals import mean_interval
from slopewise.analysis._metrics import Metric
from slopewise.analysis._power import seeds_floor, seeds_needed, smallest_detectable
from slopewise.analysis._results import Caution, Contrast, Verdict
from slopewise.analysis._signflip import sign_flip_p
from slopewise.analysis._verdict import holm, verdict, within
from slopewise.records import StudyRecord, TrialRecord

Trials = Mapping[str, Mapping[int, TrialRecord]]


def finished_trials(study: StudyRecord) -> dict[str, dict[int, TrialRecord]]:
    """Finished trials by arm and seed; every arm of the study and its control have an entry."""
    trials: dict[str, dict[int, TrialRecord]] = {arm: {} for arm in (*study.arms, study.control)}
    for trial in study.trials:
        if trial.status == "finished":
            trials[trial.arm][trial.seed] = trial
    return trials


@dataclass(frozen=True, slots=True)
class _Pairs:
    seeds: tuple[int, ...]
    arm: tuple[float, ...]
    control: tuple[float, ...]
    diverged: int
    control_diverged: int
    censored: int

    @property
    def differences(self) -> tuple[float, ...]:
        return tuple(arm - control for arm, control in zip(self.arm, self.control, strict=True))


def contrasts(
    study: StudyRecord,
    metric: Metric,
    *,
    margin: float | None = None,
    chance: float | None = None,
    target: float | None = None,
) -> tuple[Contrast, ...]:
    """Every arm but the control against it, corrected together; see `Contrast` for the arguments.

    An arm without a pair enters the correction with p = 1: no verdict is bought by leaving an arm unfinished.
    "No practical effect" is said of differences that vary, between networks of which at least one has learned.
    """
    trials = finished_trials(study)
    arms = [arm for arm in study.arms if arm != study.control]
    pairs = [_pair(trials[arm], trials[study.control], metric, chance, target) for arm in arms]
    p = [float(sign_flip_p(each.differences)) if each.seeds else 1.0 for each in pairs]
    untrained = untrained_arms(study, trials)
    of_study = study_cautions(study, trials, untrained)

    def cautions(arm: str, each: _Pairs) -> tuple[Caution, ...]:
        both = [(trials[arm][seed], trials[study.control][seed]) for seed in each.seeds]
        own = contrast_cautions(arm, study.control, both, each.differences, len(arms))
        return (*of_study, *((untrained[arm],) if arm in untrained else ()), *own)

    return tuple(
        _contrast(
            arm,
            study.control,
            metric,
            each,
            p=p_,
            p_holm=float(q),
            margin=margin,
            chance=chance,
            tests=len(arms),
            learned=not {arm, study.control} <= untrained.keys(),
            cautions=cautions(arm, each),
        )
        for arm, each, p_, q in zip(arms, pairs, p, holm(p), strict=True)
    )


def _pair(
    arm: Mapping[int, TrialRecord],
    control: Mapping[int, TrialRecord],
    metric: Metric,
    chance: float | None,
    target: float | None,
) -> _Pairs:
    def value(trial: TrialRecord) -> float | None:
        return chance if trial.diverged else metric.measure(trial, target)

    def bounded(trial: TrialRecord, measured: float) -> bool:
        return metric.limit is not None and measured > metric.limit(trial)

    both = sorted(arm.keys() & control.keys())
    measured = [(seed, value(arm[seed]), value(control[seed])) for seed in both]
    pairs = [(seed, a, c) for seed, a, c in measured if a is not None and c is not None]
    return _Pairs(
        seeds=tuple(seed for seed, _, _ in pairs),
        arm=tuple(a for _, a, _ in pairs),
        control=tuple(c for _, _, c in pairs),
        diverged=sum(arm[seed].diverged for seed in both),
        control_diverged=sum(control[seed].diverged for seed in both),
        censored=sum(bounded(arm[seed], a) or bounded(control[seed], c) for seed, a, c in pairs),
    )


def _contrast(
    arm: str,
    control: str,
    metric: Metric,
    pairs: _Pairs,
    *,
    p: float,
    p_holm: float,
    margin: float | None,
    chance: float | None,
    tests: int,
    learned: bool,
    cautions: tuple[Caution, ...],
) -> Contrast:
    differences, n = pairs.differences, len(pairs.seeds)
    sd = statistics.stdev(differences) if n > 1 else None
    low, high = (float(end) for end in mean_interval(differences)) if n > 1 else (math.nan, math.nan)
    equivalence = margin if learned and low < high else None  # an interval without spread is no evidence of anything
    return Contrast(
        arm=arm,
        control=control,
        metric=metric.key,
        title=metric.title,
        unit=metric.unit,
        better=metric.better,
        margin=margin,
        chance=chance,
        tests=tests,
        seeds=pairs.seeds,
        arm_values=pairs.arm,
        control_values=pairs.control,
        differences=differences,
        difference=statistics.fmean(differences) if n else None,
        sd=sd,
        interval=(low, high) if n > 1 else None,
        p=p if n else None,
        p_holm=p_holm if n else None,
        verdict=cast("Verdict", str(verdict(low, high, p_holm, margin=equivalence, better=metric.better))),
        negligible=bool(within(low, high, equivalence)),
        correlation=_correlation(pairs.arm, pairs.control),
        smallest_detectable=None if sd is None else smallest_detectable(n, sd, tests),
        seeds_needed=None if sd is None or not margin else seeds_needed(margin, sd, tests),
        seeds_floor=seeds_floor(tests),
        diverged=pairs.diverged,
        control_diverged=pairs.control_diverged,
        censored=pairs.censored,
        cautions=cautions,
    )


def _correlation(arm: tuple[float, ...], control: tuple[float, ...]) -> float | None:
    """Pearson correlation; None below three pairs, where it is always 1 or -1, and for a constant arm."""
    if len(arm) < 3 or min(arm) == max(arm) or min(control) == max(control):
        return None
    return float(np.corrcoef(arm, control)[0, 1])
