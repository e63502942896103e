"""Contrasts of the arms with the control, paired by seed."""

from __future__ import annotations

import math
import statistics
from typing import cast

import numpy as np

from slopewise.analysis._cautions import contrast_cautions, study_cautions, untrained_arms, worth_of_an_image
from slopewise.analysis._environments import environment_caution
from slopewise.analysis._intervals import mean_interval
from slopewise.analysis._metrics import Metric, primary_metric
from slopewise.analysis._pairs import Pairs, finished_trials, pair
from slopewise.analysis._power import (
    can_be_shown,
    largest_rate,
    seeds_floor,
    seeds_needed,
    smallest_detectable,
)
from slopewise.analysis._results import Caution, Contrast, Verdict
from slopewise.analysis._signflip import sign_flip_p
from slopewise.analysis._verdict import holm, verdict, within
from slopewise.records import StudyRecord


def contrasts(
    study: StudyRecord,
    metric: Metric,
    *,
    margin: float | None = None,
    chance: float | None = None,
    target: float | None = None,
) -> tuple[Contrast, ...]:
    """Compare each arm with the control, with one correction over the arms; see `Contrast` for the arguments.

    An arm without a pair enters the correction with p = 1, so that leaving an arm unfinished makes no verdict easier.
    "No practical effect" needs as many converged pairs as "helps" and "hurts" do (`seeds_floor`), and networks of
    which at least one has learned and which are not the same function.
    """
    trials = finished_trials(study)
    arms = [arm for arm in study.arms if arm != study.control]
    pairs = [pair(trials[arm], trials[study.control], metric, chance=chance, target=target) for arm in arms]
    p = [float(sign_flip_p(each.differences)) if each.seeds else 1.0 for each in pairs]
    showable = can_be_shown([len(each.seeds) for each in pairs])
    untrained = untrained_arms(study, trials)
    of_study = study_cautions(study, trials, untrained)

    def cautions(arm: str, each: Pairs, *, can_show: bool) -> tuple[Caution, ...]:
        both = [(trials[arm][seed], trials[study.control][seed]) for seed in each.seeds]
        own = contrast_cautions(arm, study.control, both, each, tests=len(arms), can_show=can_show)
        apart = environment_caution(study, arm, trials)
        return (*of_study, *((untrained[arm],) if arm in untrained else ()), *apart, *own)

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
            resolution=worth_of_an_image(study) if metric.key == primary_metric(study).key else 0.0,
            can_show=bool(can_show),
            learned=not {arm, study.control} <= untrained.keys(),
            cautions=cautions(arm, each, can_show=bool(can_show)),
        )
        for arm, each, p_, q, can_show in zip(arms, pairs, p, holm(p), showable, strict=True)
    )


def _contrast(
    arm: str,
    control: str,
    metric: Metric,
    pairs: Pairs,
    *,
    p: float,
    p_holm: float,
    margin: float | None,
    chance: float | None,
    tests: int,
    resolution: float,
    can_show: bool,
    learned: bool,
    cautions: tuple[Caution, ...],
) -> Contrast:
    differences, n, floor = pairs.differences, len(pairs.seeds), seeds_floor(tests)
    one_function = any(caution.id == "identical" for caution in cautions)
    resolution = 0.0 if one_function else resolution  # networks that are one function differ by 0 on any test set
    sd = statistics.stdev(differences) if n > 1 else None
    spread = None if sd is None else max(sd, resolution)
    low, high = math.nan, math.nan
    if n > 1:
        ends = mean_interval(differences, resolution=resolution)
        low, high = (min(max(float(end), -metric.span), metric.span) for end in ends)
    enough = learned and not one_function and pairs.converged >= floor
    words = verdict(low, high, p_holm, margin=margin, better=metric.better, enough=enough)
    return Contrast(
        arm=arm,
        control=control,
        metric=metric.key,
        title=metric.title,
        unit=metric.unit,
        better=metric.better,
        digits=metric.digits,
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
        verdict=cast("Verdict", str(words)),
        negligible=enough and bool(within(low, high, margin)),
        correlation=_correlation(pairs.arm, pairs.control),
        smallest_detectable=None if spread is None else smallest_detectable(n, spread, tests),
        seeds_needed=None if spread is None or not margin else seeds_needed(margin, spread, tests),
        seeds_floor=floor,
        can_be_shown=can_show,
        converged=pairs.converged,
        finished=pairs.finished,
        diverged=pairs.diverged,
        control_diverged=pairs.control_diverged,
        both_diverged=pairs.both_diverged,
        divergence_bound=largest_rate(pairs.diverged, pairs.finished),
        control_divergence_bound=largest_rate(pairs.control_diverged, pairs.finished),
        censored=pairs.censored,
        cautions=cautions,
    )


def _correlation(arm: tuple[float, ...], control: tuple[float, ...]) -> float | None:
    """Return Pearson's correlation; None for a constant arm, and below three pairs, where it is always 1 or -1."""
    if len(arm) < 3 or min(arm) == max(arm) or min(control) == max(control):
        return None
    return float(np.corrcoef(arm, control)[0, 1])
