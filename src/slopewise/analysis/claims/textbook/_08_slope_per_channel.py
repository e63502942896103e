"""Claim 8: one slope per channel does better than one per layer."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.analysis.claims._arms import Arm, learned_arms
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._paired import Side, compare_scores
from slopewise.analysis.claims._settle import settle
from slopewise.records import StudyRecord

_PART = "per channel against shared"


class SlopePerChannel(Claim):
    """Final score with one slope per channel against the final score with one slope per layer."""

    id = "slope-per-channel"
    number = 8
    statement = "A slope for each channel does better than one slope for the whole layer."
    source = "He et al. 2015 (arXiv 1502.01852): top-1 error 32.64 % per channel, 32.71 % shared, one run each"
    prediction = "the final score with slopes per channel is better than with shared ones"
    design = "an arm with slopes per channel and an arm with shared slopes that are otherwise the same"
    toml = 'arms = ["relu", "prelu_shared", "prelu_channel"]'
    statistic = "mean paired difference of the final score; exact sign-flip test"
    rule = (
        "Supported if the difference is shown to be an improvement, contradicted if it is shown to be the opposite, no "
        "practical effect if its interval lies within the study's margin. A diverged trial counts as chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge each pair of arms that differ only in how channels share slopes."""
        arms = learned_arms(study)
        rows = [
            compare_scores(Side(study, one.name), Side(study, other.name), part=_PART)
            for one in arms
            for other in arms
            if one.per_channel and other.shared and _alike(one, other)
        ]
        return settle(rows or [self.not_tested(_PART, "pair of arms that differ only in how channels share slopes")])


def _alike(one: Arm, other: Arm) -> bool:
    return (one.init, one.bounds, one.lr, one.slope_rate) == (other.init, other.bounds, other.lr, other.slope_rate)
