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
    """Trace that the initial slope leaves in the final slopes, and in the final score."""

    id = "initial-slope"
    number = 12
    statement = "Final slopes and score depend on the slope that training starts from."
    source = "textbooks: as sensitive to initialisation as weights are; He et al. 2015 start from 0.25"
    prediction = "a part of the differences between initial slopes is left at the end, and the scores differ"
    design = "several initial slopes at one learning rate, from the same seeds"
    toml = "[map]\nlr = [0.025]\ninit = [0.0, 0.1, 0.25, 0.5]\nseeds = 8"
    statistic = (
        "for each seed, the least-squares slope of the mean final slope on the initial one: 1 if differences stay, 0 "
        "if they vanish; and paired differences of the final score between each initial slope and 0.25. Of several "
        "learning rates, the one nearest to the study's own among those with the most initial slopes"
    )
    rule = (
        "The slopes are supported if the share is shown to lie above 0, contradicted if below, no practical effect if "
        "its interval lies within 0.05. The score is supported if some initial slope is shown to score otherwise than "
        "0.25, no practical effect if all intervals lie within the study's margin. A diverged trial counts as chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the initial slopes of each arm."""
        tried = {arm.name: sides_by_init(study, arm) for arm in learned_arms(study)}
        rows = [row for arm, sides in tried.items() if sides for row in _rows(study, arm, sides)]
        if rows:
            return settle(rows)
        return [self.not_tested(part, "arm with several initial slopes at one rate") for part in (_SLOPES, _SCORE)]


def sides_by_init(study: StudyRecord, arm: Arm) -> dict[float, Side]:
    """Return an arm under several initial slopes and one learning rate, by the initial slope."""
    rates: dict[float, dict[float, Side]] = {}
    for cell in study.cells_of("map"):
        rate, init = number(cell.settings.get("train.lr")), number(cell.settings.get("arm.options.init"))
        if rate and init is not None and arm.name in cell.arms:
            rates.setdefault(rate, {})[init] = in_cell(study, arm.name, cell)
    own = number(own_value(study, "train.lr")) or 1.0
    factor = [(number(each.value), each) for each in variants(study, "arm.options.init")[1:]]
    others = {init: Side(each.study, arm.name, each.cell) for init, each in factor if init is not None}
    if others and arm.init is not None:
        rates.setdefault(own, {arm.init: Side(study, arm.name), **others})
    rates = {rate: sides for rate, sides in rates.items() if len(sides) > 1}
    if not rates:
        return {}
    return min(rates.items(), key=lambda each: (-len(each[1]), abs(math.log(each[0] / own))))[1]


def _rows(study: StudyRecord, arm: str, sides: Mapping[float, Side]) -> list[Measured]:
    reference = min(sides, key=lambda init: abs(init - REFERENCE))
    rate = (f"at learning rate {own_value(sides[reference].study, 'train.lr') or 'of each arm'}",)
    row = of_values(
        study,
        (arm,),
        kept(sides),
        part=_SLOPES,
        subject=f"share of the differences between initial slopes that is left in {arm}",
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


def kept(sides: Mapping[float, Side]) -> dict[int, float]:
    """Return, for each seed with two initial slopes or more, the least-squares slope of final on initial slopes."""
    points: dict[int, list[tuple[float, float]]] = {}
    for init, side in sides.items():
        for seed, trial in converged(side.study, side.arm).items():
            if (slope := mean_slope(trial)) is not None:
                points.setdefault(seed, []).append((init, slope))
    pairs = {seed: np.array(each) for seed, each in points.items() if len(each) > 1}
    return {seed: float(np.polyfit(each[:, 0], each[:, 1], 1)[0]) for seed, each in pairs.items()}
