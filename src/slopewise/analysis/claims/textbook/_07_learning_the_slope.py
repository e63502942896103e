"""Claim 7: learning the slope beats freezing it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slopewise.analysis.claims._arms import arms_of, learned_arms
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._paired import Side, compare_scores
from slopewise.analysis.claims._prelu import Rows
from slopewise.analysis.claims._settle import settle
from slopewise.records import StudyRecord

FROZEN_AT = 0.25
_FIXED, _TAKEN = "frozen at 0.25", "frozen at the learned values"


class LearningTheSlope(Claim):
    """Learned slopes against frozen slopes: frozen at 0.25, and frozen at the learned values."""

    id = "learning-the-slope"
    number = 7
    statement = "Learning the slopes beats freezing them at 0.25, and also beats freezing them at their learned values."
    source = "He et al. 2015 (arXiv 1502.01852) against Xu et al. 2015 (arXiv 1505.00853): fixed leaks do as well"
    prediction = "the final score is better than that of the same network with frozen slopes"
    design = (
        "an arm with learned slopes, the arm frozen_slope, and an arm frozen at the slopes that the first one learned"
    )
    toml = (
        'arms = [\n  "relu", "frozen_slope", "prelu_channel",\n'
        '  { name = "frozen_learned", activation = "prelu_channel", slope_lr_scale = 0.0, '
        'start = { arm = "prelu_channel", take = "slopes" } },\n]'
    )
    statistic = "mean paired difference of the final score, for each arm with learned slopes; exact sign-flip test"
    rule = (
        "Each part is supported if the difference is shown to be an improvement, contradicted if it is shown to be the "
        "opposite, no practical effect if its interval lies within the study's margin. A diverged trial counts as "
        "chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge learned slopes against both kinds of frozen slopes."""
        arms = arms_of(study)
        fixed = [arm for arm in arms.values() if arm.fresh and _at_quarter(arm.frozen_at)]
        at_start: Rows = [
            compare_scores(Side(study, arm.name), Side(study, other.name), part=_FIXED)
            for arm in learned_arms(study)
            for other in fixed
        ]
        at_end: Rows = [
            compare_scores(Side(study, source.name), Side(study, frozen.name), part=_TAKEN)
            for frozen in arms.values()
            if frozen.sloped and not frozen.learned and frozen.take == "slopes"
            if (source := arms.get(frozen.start or "")) and source.learned and source.epochs == frozen.epochs
        ]
        return settle(
            (
                at_start
                or [self.not_tested(_FIXED, "pair of arms, one with learned slopes and one with slopes frozen at 0.25")]
            )
            + (
                at_end
                or [self.not_tested(_TAKEN, "arm whose slopes are frozen at the values that another arm has learned")]
            )
        )


def _at_quarter(slope: float | None) -> bool:
    return slope is not None and math.isclose(slope, FROZEN_AT)
