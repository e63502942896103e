"""Contrasts of the arms with the control, paired by seed where the arms of a seed started alike."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import numpy as np

from slopewise.analysis._basis import Basis, basis_of
from slopewise.analysis._cautions import contrast_cautions, of_other_figures, worth_of_an_image
from slopewise.analysis._environments import environment_caution
from slopewise.analysis._looks import pairs_of_look, runs_of_last_look
from slopewise.analysis._metrics import Measure, Metric, primary_metric
from slopewise.analysis._pairing import unpaired_caution
from slopewise.analysis._pairs import Pairs, Sample, pair, runs
from slopewise.analysis._power import (
    can_be_shown,
    largest_rate,
    seeds_floor,
    seeds_needed,
    smallest_detectable,
)
from slopewise.analysis._results import Caution, Contrast, Verdict
from slopewise.analysis._sequential import first_deciding_look
from slopewise.analysis._verdict import holm, verdict, within
from slopewise.records import StudyRecord, TrialRecord


def contrasts(
    study: StudyRecord,
    metric: Metric,
    *,
    margin: float | None = None,
    chance: float | None = None,
    target: float | None = None,
    looks: tuple[int, ...] = (),
    basis: Basis | None = None,
) -> tuple[Contrast, ...]:
    """Compare each arm with its control, corrected over all arms; see `Contrast` for the other arguments.

    `basis` saves work where a study is compared on several metrics; by default it is made from the study.

    Arms that serve as controls (`StudyRecord.controls`) have no contrast of their own.

    With the looks of an adaptive study, each arm gets the p value and the interval of its last completed look. Without
    `looks`, the present values are analysed as those of a fixed study.

    An arm without a value enters the correction with p = 1, so that leaving an arm unfinished makes no verdict easier.
    "No practical effect" needs as many converged pairs, or runs, as "helps" and "hurts" do (`seeds_floor`), and
    networks of which at least one has learned and which are not the same function.
    """
    basis = basis or basis_of(study)
    trials, controls, broken, untrained = basis.trials, basis.controls, basis.broken, basis.untrained
    metric = replace(metric, measure=_once(metric.measure))

    def sample_of(arm: str) -> Sample:
        paired = study.paired and not broken[arm]
        if looks:
            of_look = pairs_of_look if paired else runs_of_last_look
            return of_look(study, arm, trials, metric, chance=chance, target=target)
        return (pair if paired else runs)(trials[arm], trials[controls[arm]], metric, chance=chance, target=target)

    scored = metric.key == primary_metric(study).key
    resolution = worth_of_an_image(study) if scored else 0.0
    of_study = basis.cautions if scored else of_other_figures(basis.cautions)
    samples = {arm: sample_of(arm) for arm in controls}
    p = [sample.p() for sample in samples.values()]
    showable = can_be_shown([sample.smallest_p for sample in samples.values()])

    def cautions(arm: str, sample: Sample, *, can_show: bool) -> tuple[Caution, ...]:
        control = controls[arm]
        both = [(trials[arm][seed], trials[control][seed]) for seed in sample.seeds if isinstance(sample, Pairs)]
        return (
            *of_study,
            *(untrained[name] for name in (arm, control) if name in untrained and name != study.control),
            *environment_caution(study, arm, trials),
            *unpaired_caution(arm, control, broken[arm]),
            *contrast_cautions(
                arm, control, both, sample, tests=len(controls), can_show=can_show, resolution=resolution
            ),
        )

    return tuple(
        _contrast(
            arm,
            controls[arm],
            metric,
            sample,
            p=p_,
            p_holm=float(q),
            margin=metric.margin(sample.control) if margin is None and metric.margin else margin,
            chance=chance,
            tests=len(controls),
            resolution=resolution,
            can_show=bool(can_show),
            learned=not {arm, controls[arm]} <= untrained.keys(),
            cautions=cautions(arm, sample, can_show=bool(can_show)),
        )
        for (arm, sample), p_, q, can_show in zip(samples.items(), p, holm(p), showable, strict=True)
    )


def _once(measure: Measure) -> Measure:
    """Return a measure that takes each trial once: the control's are compared with those of every arm."""
    values: dict[tuple[str, int], float | None] = {}

    def measured(trial: TrialRecord, target: float | None) -> float | None:
        key = trial.arm, trial.seed
        if key not in values:
            values[key] = measure(trial, target)
        return values[key]

    return measured


def _contrast(
    arm: str,
    control: str,
    metric: Metric,
    sample: Sample,
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
    design, paired, sd, n = sample.design, isinstance(sample, Pairs), sample.sd, len(sample.seeds)
    one_function = any(caution.id == "identical" for caution in cautions)
    resolution = 0.0 if one_function else resolution  # networks that are one function differ by 0 on any test set
    spread = None if sd is None else max(sd, resolution)
    low, high = math.nan, math.nan
    if sd is not None:
        low, high = (min(max(end, -metric.span), metric.span) for end in sample.interval(resolution))
    looks = sample.looks
    fixed = sample.decides and not (looks and paired)  # the power formulas hold only for fixed numbers of values
    enough = learned and not one_function and sample.decides and sample.converged.enough(tests)
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
        paired=paired,
        seeds=sample.seeds,
        control_seeds=sample.control_seeds,
        arm_values=sample.arm,
        control_values=sample.control,
        differences=sample.differences,
        difference=sample.difference if n else None,
        sd=sd,
        interval=None if sd is None else (low, high),
        p=p if n else None,
        p_holm=p_holm if n else None,
        verdict=cast("Verdict", str(words)),
        negligible=enough and bool(within(low, high, margin)),
        correlation=_correlation(sample.arm, sample.control) if paired else None,
        smallest_detectable=None
        if spread is None or not fixed
        else smallest_detectable(design.arm, spread, tests, control=design.control),
        seeds_needed=None
        if spread is None or not margin or not fixed
        else seeds_needed(margin, spread, tests, paired=paired),
        seeds_floor=first_deciding_look(looks, tests) if looks and paired else seeds_floor(tests, paired=paired),
        can_be_shown=can_show,
        converged=sample.converged.arm,
        control_converged=sample.converged.arm if paired else sample.converged.control or 0,
        finished=sample.finished,
        control_finished=sample.control_finished,
        diverged=sample.diverged,
        control_diverged=sample.control_diverged,
        both_diverged=sample.both_diverged,
        divergence_bound=largest_rate(sample.diverged, sample.finished),
        control_divergence_bound=largest_rate(sample.control_diverged, sample.control_finished),
        censored=sample.censored,
        cautions=cautions,
        look=sample.look,
        looks=looks,
    )


def _correlation(arm: tuple[float, ...], control: tuple[float, ...]) -> float | None:
    """Return Pearson's correlation; None for a constant arm, and below three pairs, where it is always 1 or -1."""
    if len(arm) < 3 or min(arm) == max(arm) or min(control) == max(control):
        return None
    return float(np.corrcoef(arm, control)[0, 1])
