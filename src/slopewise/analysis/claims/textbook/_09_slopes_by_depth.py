"""Claim 9: slopes fall with depth, and those of the first layer are the largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slopewise.analysis.claims._arms import Arm, learned_arms
from slopewise.analysis.claims._base import Claim, Finding, TrialKey
from slopewise.analysis.claims._factors import converged
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.analysis.claims._slopes import medians
from slopewise.analysis.claims._values import of_rate, of_values
from slopewise.records import StudyRecord

BAND = 0.1  # rank correlations closer to 0 count as no trend
_FALL, _FIRST = "slopes fall with depth", "the first layer's slope is the largest"


class SlopesByDepth(Claim):
    """Order of the final slopes of the layers along the forward pass."""

    id = "slopes-by-depth"
    number = 9
    statement = "Slopes fall with depth, and those of the first layer are the largest."
    source = "He et al. 2015 (arXiv 1502.01852): conv1 0.681 shared and 0.596 per channel, conv3 0.008 to 0.210"
    prediction = (
        "the rank correlation of slope and depth is negative, and the first layer has the largest slope more often "
        "than by chance"
    )
    design = "an arm with learned slopes at three call sites or more"
    toml = 'arms = ["relu", "prelu_shared", "prelu_channel"]'
    statistic = (
        "Spearman's correlation between position in the forward pass and final slope over the call sites of a trial "
        "(the median slope of each), averaged over seeds, with a sign-flip test; share of trials whose first call site "
        "has the largest slope, with Clopper and Pearson's interval, against 1 / number of call sites"
    )
    rule = (
        "Supported if the correlation is shown to lie below 0 and the share above chance; each part is contradicted on "
        "the other side; no practical effect if the correlation's interval lies within 0.1. Diverged trials are left "
        "out."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the final slopes of each arm that learns them."""
        rows: list[Measured | Finding] = []
        for arm in learned_arms(study):
            slopes = {seed: medians(trial) for seed, trial in converged(study, arm.name).items()}
            deep = {seed: by_site for seed, by_site in slopes.items() if len(by_site) >= 3}
            if deep or not slopes:
                rows += _rows(study, arm, deep)
        if rows:
            return settle(rows)
        return [self.not_tested(part, "arm with learned slopes at three call sites") for part in (_FALL, _FIRST)]


def _rows(study: StudyRecord, arm: Arm, slopes: Mapping[int, Sequence[float]]) -> list[Measured]:
    def keys(seeds: Sequence[int]) -> list[TrialKey]:
        return [TrialKey(arm.name, seed) for seed in seeds]

    correlations = {seed: rho for seed, by_site in slopes.items() if (rho := spearman(by_site)) is not None}
    first = [by_site[0] > max(by_site[1:]) for by_site in slopes.values()]
    sites = max(map(len, slopes.values()), default=3)
    stopped = ("the number of seeds depended on the study's scores",) * bool(study.looks)
    return [
        of_values(
            study,
            (arm.name,),
            correlations,
            part=_FALL,
            subject=f"rank correlation of slope and depth in {arm.name}",
            predicted="lower",
            unit="",
            digits=2,
            band=BAND,
            keys=keys,
        ),
        of_rate(
            (arm.name,),
            sum(first),
            len(first),
            part=_FIRST,
            subject=f"trials of {arm.name} whose first layer has the largest slope (by chance {100 / sites:.0f} %)",
            predicted="higher",
            null=1 / sites,
            keys=keys(sorted(slopes)),
            cautions=stopped,
        ),
    ]


def spearman(slopes: Sequence[float]) -> float | None:
    """Return Spearman's correlation between position and slope; None if all slopes are equal.

    Example:
        >>> round(spearman([0.6, 0.3, 0.3, 0.1]), 3)
        -0.949
    """
    if min(slopes) == max(slopes):
        return None
    array = np.asarray(slopes)
    ranks = (array[:, None] > array).sum(axis=1) + ((array[:, None] == array).sum(axis=1) - 1) / 2  # ties share ranks
    return float(np.corrcoef(np.arange(len(array)), ranks)[0, 1])
