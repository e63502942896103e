"""Claim 2: PReLU reaches a target score in fewer steps."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.analysis._metrics import metrics_of
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._paired import Side, compare
from slopewise.analysis.claims._prelu import against_relu, target_of
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.records import StudyRecord


class StepsToTarget(Claim):
    """Optimizer steps until the validation score first reaches the median of ReLU's final validation scores."""

    id = "steps-to-target"
    number = 2
    statement = "A network with PReLU converges in fewer training steps than one with ReLU."
    source = "He et al. 2015 (arXiv 1502.01852), and textbooks: faster convergence than with ReLU"
    prediction = "fewer steps than with ReLU until the validation score reaches the target"
    design = "a ReLU arm and an arm with learned slopes, trained in the study's own loop"
    toml = 'arms = ["relu", "prelu_shared", "prelu_channel"]'
    statistic = (
        "mean paired difference of the steps until the validation score, measured after each epoch, first reaches the "
        "median of ReLU's final validation scores; a trial that never reaches it counts as reaching it one epoch after "
        "its end"
    )
    rule = (
        "Supported if the difference is shown to lie below 0, contradicted if above, no practical effect if its "
        "interval lies within 5 % of ReLU's mean. Pairs with a diverged trial are left out."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the steps of each arm."""
        metric, target = metrics_of(study).get("steps_to_target"), target_of(study)
        if metric is None:
            return [self.not_tested("steps", "record of its training")]

        def steps(arm: Side, relu: Side, cautions: tuple[str, ...]) -> Measured:
            return compare(arm, relu, metric, part="steps", predicted="lower", target=target, cautions=cautions)

        return settle(against_relu(self, study, "steps", steps))
