"""Claim 3: PReLU reaches a target score in less time."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.analysis._metrics import STEPS, Metric, metrics_of, share_of_control
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._paired import Side, compare
from slopewise.analysis.claims._prelu import against_relu, target_of
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.records import StudyRecord, TrialRecord


class SecondsToTarget(Claim):
    """Training time until the validation score first reaches the median of ReLU's final validation scores."""

    id = "seconds-to-target"
    number = 3
    statement = "A network with PReLU also converges in less time, although each of its steps takes longer."
    source = "textbooks: faster convergence at negligible cost; He et al. 2015 (arXiv 1502.01852)"
    prediction = "fewer seconds than with ReLU until the validation score reaches the target"
    design = "a ReLU arm and an arm with learned slopes, trained in one environment"
    toml = 'arms = ["relu", "prelu_shared", "prelu_channel"]'
    statistic = (
        "mean paired difference of the steps to the target (as in steps-to-target) multiplied by the trial's own "
        "median step time; pairs whose trials ran in different environments are left out"
    )
    rule = (
        "Supported if the difference is shown to lie below 0, contradicted if above, no practical effect if its "
        "interval lies within 5 % of ReLU's mean. Pairs with a diverged trial are left out."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the seconds of each arm."""
        steps, target = metrics_of(study).get("steps_to_target"), target_of(study)
        if steps is None:
            return [self.not_tested("seconds", "record of its training")]
        metric = _seconds(steps)

        def seconds(arm: Side, relu: Side, cautions: tuple[str, ...]) -> Measured:
            return compare(
                arm,
                relu,
                metric,
                part="seconds",
                predicted="lower",
                target=target,
                cautions=cautions,
            )

        return settle(against_relu(self, study, "seconds", seconds))


def _seconds(steps: Metric) -> Metric:
    """Return the metric of seconds to the target, given the metric of steps to it."""

    def seconds(trial: TrialRecord, target: float | None) -> float | None:
        count, step = steps.measure(trial, target), trial.seconds_per_step
        return None if count is None or step is None else count * step

    return Metric(
        "seconds_to_target",
        "time to target",
        "s",
        "lower",
        2,
        seconds,
        lambda trial: trial.steps * (trial.seconds_per_step or 0.0),
        same_environment=True,
        margin=share_of_control(STEPS),
    )
