"""Claim 16: PReLU swapped into a trained ReLU network improves it, if slopes start at 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slopewise.analysis.claims._arms import Arm, arms_of
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._factors import own_value
from slopewise.analysis.claims._paired import Side, compare_scores
from slopewise.analysis.claims._prelu import Rows
from slopewise.analysis.claims._settle import settle
from slopewise.records import StudyRecord

_ZERO, _ORDER, _QUARTER = "from 0 against keeping ReLU", "from 0 against from 0.25", "from 0.25 against keeping ReLU"


class FineTuning(Claim):
    """Fine-tuning of a trained ReLU network: with slopes from 0, with slopes from 0.25, and with ReLU kept."""

    id = "fine-tuning"
    number = 16
    statement = "PReLU swapped into a trained ReLU network and fine-tuned does better, if its slopes start at 0."
    source = "questions of practitioners (ultralytics/ultralytics#17534, apache/mxnet#4885); no publication known"
    prediction = "slopes that start at 0 reach a better final score than ReLU, and than slopes that start at 0.25"
    design = "arms that start from the weights of a trained ReLU arm: ReLU, learned slopes from 0, and from 0.25"
    toml = (
        'arms = [\n  "relu",\n'
        '  { name = "kept", activation = "relu", start = { arm = "relu", take = "weights" } },\n'
        '  { name = "from_0", activation = "prelu_channel_0", start = { arm = "relu", take = "weights" } },\n'
        '  { name = "from_quarter", activation = "prelu_channel", start = { arm = "relu", take = "weights" } },\n]'
    )
    statistic = "mean paired difference of the final score after fine-tuning; exact sign-flip test"
    rule = (
        "Each part is supported if the difference is shown to be an improvement, contradicted if it is shown to be the "
        "opposite, no practical effect if its interval lies within the study's margin; the claim needs both. "
        "Slopes from 0.25 against ReLU are reported beside it. A diverged trial counts as chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the arms that continue from trained weights."""
        arms, cautions = tuned_on(study)
        kept = [arm for arm in arms if arm.activation == "relu"]
        zero, quarter = ([arm for arm in arms if arm.learned and _starts_at(arm, slope)] for slope in (0.0, 0.25))

        def rows(part: str, ones: Sequence[Arm], others: Sequence[Arm], *, counts: bool = True) -> Rows:
            pairs: Rows = [
                compare_scores(
                    Side(study, one.name), Side(study, other.name), part=part, counts=counts, cautions=cautions
                )
                for one in ones
                for other in others
                if (not other.sloped or one.per_channel == other.per_channel) and one.epochs == other.epochs
            ]
            return pairs or [self.not_tested(part, "such pair of arms that start from trained weights", counts=counts)]

        return settle(
            rows(_ZERO, zero, kept) + rows(_ORDER, zero, quarter) + rows(_QUARTER, quarter, kept, counts=False)
        )


def tuned_on(study: StudyRecord) -> tuple[list[Arm], tuple[str, ...]]:
    """Return the arms that continue from the trained weights of a ReLU network, and cautions about them.

    These are the arms that start from the weights of a ReLU arm. Without such arms, and if the study has a checkpoint,
    they are all arms that start from it.
    """
    arms = arms_of(study)
    taken = [arm for arm in arms.values() if arm.take == "weights" and _is_relu(arms.get(arm.start or ""))]
    if taken or not own_value(study, "model.checkpoint"):
        return taken, ()
    return [arm for arm in arms.values() if arm.fresh], ("the checkpoint is assumed to be that of a ReLU network",)


def _is_relu(arm: Arm | None) -> bool:
    return arm is not None and arm.activation in ("relu", "as_is")


def _starts_at(arm: Arm, slope: float) -> bool:
    return arm.init is not None and math.isclose(arm.init, slope)
