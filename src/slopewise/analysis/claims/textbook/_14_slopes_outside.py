"""Claim 14: slopes end outside 0 to 1, and that matters."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.analysis.claims._arms import Arm, learned_arms
from slopewise.analysis.claims._base import Claim, Finding, TrialKey
from slopewise.analysis.claims._factors import converged, variants
from slopewise.analysis.claims._paired import Side, compare_scores
from slopewise.analysis.claims._prelu import Rows
from slopewise.analysis.claims._settle import settle
from slopewise.analysis.claims._slopes import any_outside, outside
from slopewise.analysis.claims._values import of_rate, of_values
from slopewise.records import StudyRecord

OFTEN = 0.05  # fraction of trials above which slopes outside 0 to 1 are no longer rare
_HOW_OFTEN, _MATTERS = "trials with slopes outside 0 to 1", "bounded slopes score better"


class SlopesOutside(Claim):
    """Share of trials with slopes that end below 0 or above 1, and the score of bounded slopes."""

    id = "slopes-outside"
    number = 14
    statement = "Slopes end at undesirable values, below 0 or above 1, and that costs score."
    source = (
        "textbooks: slopes may end at undesirable values; BVLC/caffe#3312 asks for bounds. He et al. 2015: few above 1"
    )
    prediction = "slopes outside 0 to 1 occur in more than one trial in twenty, and bounds improve the score"
    design = "an arm with learned slopes and, to measure what slopes outside cost, the same arm with the bounds 0 and 1"
    toml = (
        'arms = [\n  "relu", "prelu_channel",\n  { name = "bounded", activation = "prelu_channel", '
        "options = { bounds = [0.0, 1.0] } },\n]"
    )
    statistic = (
        "share of the trials that end with a slope below 0 or above 1, with Clopper and Pearson's interval and an "
        "exact binomial test against 5 %; mean paired difference of the final score, with bounds minus without"
    )
    rule = (
        "The part on the share is supported if the share is shown to lie above 5 %, contradicted if below. The part on "
        "the score is supported if bounded slopes are shown to score better, contradicted if worse, no practical "
        "effect if the interval lies within the study's margin. Diverged trials are left out of the share, and count "
        "as chance in the score."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the arms without bounds on their slopes, and pairs of arms with and without bounds."""
        free = [arm for arm in learned_arms(study) if arm.bounds is None]
        often: Rows = [row for arm in free for row in _how_often(self, study, arm)]
        pairs: Rows = [compare_scores(one, other, part=_MATTERS) for one, other in _bounded(study, free)]
        return settle(
            (often or [self.not_tested(_HOW_OFTEN, "arm with learned slopes that have no bounds")])
            + (
                pairs
                or [self.not_tested(_MATTERS, "pair of arms, one with the bounds 0 and 1 and the same arm without")]
            )
        )


def _how_often(claim: Claim, study: StudyRecord, arm: Arm) -> Rows:
    trials = converged(study, arm.name)
    outcomes = {seed: outcome for seed, trial in trials.items() if (outcome := any_outside(trial)) is not None}
    shares = {seed: 100 * part for seed, trial in trials.items() if (part := outside(trial)) is not None}

    if trials and not outcomes:
        return [claim.not_tested(_HOW_OFTEN, f"record of the slopes of {arm.name}")]

    def keys(seeds: Sequence[int]) -> list[TrialKey]:
        return [TrialKey(arm.name, seed) for seed in seeds]

    rate = of_rate(
        (arm.name,),
        sum(outcomes.values()),
        len(outcomes),
        part=_HOW_OFTEN,
        subject=f"trials of {arm.name} that end with a slope below 0 or above 1",
        predicted="higher",
        null=OFTEN,
        keys=keys(sorted(outcomes)),
        cautions=("the number of seeds depended on the study's scores",) * bool(study.looks),
    )
    if not shares:
        return [rate]
    share = of_values(
        study,
        (arm.name,),
        shares,
        part="share of slopes outside 0 to 1",
        subject=f"share of all slopes of {arm.name} that end below 0 or above 1",
        predicted="higher",
        unit="%",
        digits=1,
        band=1.0,
        keys=keys,
        counts=False,
    )
    return [rate, share]


def _bounded(study: StudyRecord, free: Sequence[Arm]) -> list[tuple[Side, Side]]:
    arms = learned_arms(study)
    pairs = [
        (Side(study, one.name), Side(study, other.name))
        for other in free
        for one in arms
        if one.bounds == (0.0, 1.0) and (one.activation, one.init, one.lr) == (other.activation, other.init, other.lr)
    ]
    for variant in variants(study, "arm.options.bounds")[1:]:
        names = {arm.name for arm in learned_arms(variant.study) if arm.bounds == (0.0, 1.0)}
        pairs += [(Side(variant.study, a.name, variant.cell), Side(study, a.name)) for a in free if a.name in names]
    return pairs
