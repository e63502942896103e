"""Claim 12: final slopes and score depend on the initial slope."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from slopewise.analysis.claims._arms import Arm, learned_arms, number
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._factors import converged, own_value, variants
from slopewise.analysis.claims._paired import Side, compare_scores, in_cell
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.analysis.claims._slopes import mean_slope
from slopewise.analysis.claims._values import of_values
from slopewise.records import StudyRecord

BAND, REFERENCE = 0.05, 0.25
_SLOPES, _SCORE = "final slopes", "final score"


class InitialSlope(Claim):
    """Dependence of the final slopes, and of the final score, on the initial slope."""

    id = "initial-slope"
    number = 12
    statement = "Final slopes and score depend on the initial slope."
    source = "textbooks: as sensitive to initialisation as weights are; He et al. 2015 start from 0.25"
    prediction = "part of the difference between initial slopes remains after training, and the final scores differ"
    design = "several initial slopes at one learning rate, from the same seeds"
    toml = "[map]\nlr = [0.025]\ninit = [0.0, 0.1, 0.25, 0.5]\nseeds = 8"
    statistic = (
        "for each seed, the coefficient of a least-squares fit of the mean final slope to the initial slope: 1 if "
        "differences persist, 0 if they vanish; and paired differences of the final score between each initial slope "
        "and 0.25. Among several learning rates, those with the most initial slopes are eligible, and the one nearest "
        "to the study's own is used"
    )
    rule = (
        "The part on the slopes is supported if the coefficient is shown to lie above 0, contradicted if below, no "
        "practical effect if its interval lies within 0.05. The part on the score is supported if the score of some "
        "initial slope is shown to differ from that of 0.25, no practical effect if all intervals lie within the "
        "study's margin. A diverged trial counts as chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the initial slopes of each arm."""
        tried = {arm.name: sides_by_init(study, arm) for arm in learned_arms(study)}
        rows = [row for arm, sides in tried.items() if sides for row in _rows(study, arm, sides)]
        if rows:
            return settle(rows)
        return [self.not_tested(part, "arm with several initial slopes at one rate") for part in (_SLOPES, _SCORE)]


def sides_by_init(study: StudyRecord, arm: Arm) -> dict[float, Side]:
    """Return the trials of an arm at one learning rate, by initial slope; empty with fewer than two initial slopes."""
    rates: dict[float, dict[float, Side]] = {}
    for cell in study.cells_of("map"):
        rate, init = number(cell.settings.get("train.lr")), number(cell.settings.get("arm.options.init"))
        if rate and init is not None and arm.name in cell.arms:
            rates.setdefault(rate, {})[init] = in_cell(study, arm.name, cell)
    own = number(own_value(study, "train.lr")) or 1.0
    factor = [(number(variant.value), variant) for variant in variants(study, "arm.options.init")[1:]]
    others = {init: Side(variant.study, arm.name, variant.cell) for init, variant in factor if init is not None}
    if others and arm.init is not None:
        rates.setdefault(own, {arm.init: Side(study, arm.name), **others})
    rates = {rate: sides for rate, sides in rates.items() if len(sides) > 1}
    if not rates:
        return {}
    return rates[min(rates, key=lambda rate: (-len(rates[rate]), abs(math.log(rate / own))))]


def _rows(study: StudyRecord, arm: str, sides: Mapping[float, Side]) -> list[Measured]:
    reference = min(sides, key=lambda init: abs(init - REFERENCE))
    rate = (f"at the learning rate {own_value(sides[reference].study, 'train.lr') or 'of each arm'}",)
    row = of_values(
        study,
        (arm,),
        persistence(sides),
        part=_SLOPES,
        subject=f"share of the difference between initial slopes that remains in {arm}",
        predicted="higher",
        unit="",
        digits=3,
        band=BAND,
        keys=lambda seeds: [key for side in sides.values() for key in side.keys(seeds)],
        own=False,
        cautions=rate,
    )
    scores = [
        compare_scores(side, sides[reference], part=_SCORE, predicted="different", cautions=rate)
        for init, side in sorted(sides.items())
        if init != reference
    ]
    return [row, *scores]


def persistence(sides: Mapping[float, Side]) -> dict[int, float]:
    """Return the coefficient of a least-squares fit of final to initial slopes, for each seed with two or more."""
    points: dict[int, list[tuple[float, float]]] = {}
    for init, side in sides.items():
        for seed, trial in converged(side.study, side.arm).items():
            if (slope := mean_slope(trial)) is not None:
                points.setdefault(seed, []).append((init, slope))
    pairs = {seed: np.array(of_seed) for seed, of_seed in points.items() if len(of_seed) > 1}
    return {seed: float(np.polyfit(of_seed[:, 0], of_seed[:, 1], 1)[0]) for seed, of_seed in pairs.items()}
