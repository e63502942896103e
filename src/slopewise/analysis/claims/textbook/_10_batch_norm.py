"""Claim 10: batch normalisation shrinks the gain from PReLU."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from slopewise.analysis.claims._arms import Arm, learned_arms, relu_cautions, relu_of
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._factors import Variant, rates_apart, variants
from slopewise.analysis.claims._paired import Side, compare_scores, effects
from slopewise.analysis.claims._prelu import lacking_arms
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.analysis.claims._values import of_values
from slopewise.records import StudyRecord

_PART = "gain with minus gain without"
_SETTINGS = ("model.options.batch_norm", "model.options.norm")


class BatchNorm(Claim):
    """Gain over ReLU in the network with batch normalisation minus the gain in the network without it."""

    id = "batch-norm"
    number = 10
    statement = "Batch normalisation shrinks the gain from PReLU."
    source = "Mishkin et al. 2016 (caffenet-benchmark): +1.4 points without batch normalisation, +0.4 with it"
    prediction = "the gain over ReLU is smaller with batch normalisation than without"
    design = "batch normalisation as a factor crossed with the arms"
    toml = '[[factors]]\nsetting = "model.options.batch_norm"\nvalues = [true]'
    statistic = (
        "mean over seeds of a difference of differences: PReLU minus ReLU with batch normalisation, minus the same "
        "difference without it; exact sign-flip test"
    )
    rule = (
        "Supported if the gain is shown to be smaller with batch normalisation, the mean gain without it is an "
        "improvement, and both arms have one learning rate (rates are tuned without the factor); contradicted if the "
        "gain is shown to be larger; no practical effect if the interval lies within the study's margin. A diverged "
        "trial counts as chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the factor, whichever of its values is the study's own."""
        relu, arms = relu_of(study), learned_arms(study)
        if relu is None or not arms:
            return [self.not_tested(_PART, lacking_arms(study, arms))]
        for setting in _SETTINGS:
            # In reverse order, so that the study's own value wins.
            tried = {normalised(variant.value): variant for variant in reversed(variants(study, setting))}
            if len(tried) == 2:
                common = {*tried[True].study.arms} & {*tried[False].study.arms}
                rows = [
                    row
                    for arm in arms
                    if {arm.name, relu.name} <= common
                    for row in _rows(study, arm, relu, tried[True], tried[False])
                ]
                return settle(
                    rows
                    or [self.not_tested(_PART, "pair of a ReLU arm and an arm with learned slopes in both networks")]
                )
        return [self.not_tested(_PART, "factor of batch normalisation")]


def normalised(value: Any) -> bool:
    """Return True if this value of the setting turns batch normalisation on."""
    return value is True or value == "batch"


def _rows(study: StudyRecord, arm: Arm, relu: Arm, with_norm: Variant, without: Variant) -> list[Measured]:
    sides = [[Side(net.study, name, net.cell) for name in (arm.name, relu.name)] for net in (with_norm, without)]
    gains = [effects(*pair) for pair in sides]
    both = gains[0].keys() & gains[1].keys()
    sign = 1 if study.primary.better == "higher" else -1
    gain = statistics.fmean(gains[1][seed] for seed in both) if both else 0.0
    no_gain = () if sign * gain > 0 else (f"without batch normalisation, {arm.name} has no gain that could shrink",)
    apart = rates_apart(study, arm.name, relu.name)
    row = of_values(
        study,
        (arm.name, relu.name),
        {seed: gains[0][seed] - gains[1][seed] for seed in both},
        part=_PART,
        subject=f"gain of {arm.name} over {relu.name} with batch normalisation minus the gain without",
        predicted="lower" if sign > 0 else "higher",
        unit=study.primary.unit,
        digits=study.primary.digits,
        band=study.margin,
        keys=lambda seeds: [key for pair in sides for side in pair for key in side.keys(seeds)],
        own=False,
        supports=not (no_gain or apart),
        cautions=(*relu_cautions(relu), *no_gain, *apart),
    )
    names = ("with batch normalisation", "without batch normalisation")
    alone = [
        compare_scores(*pair, part=f"gain {name}", counts=False, cautions=apart if pair[0].cell else ())
        for pair, name in zip(sides, names, strict=True)
    ]
    return [row, *alone]
