"""Claim 4: a training step with PReLU takes slightly longer than one with ReLU."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._factors import converged
from slopewise.analysis.claims._paired import Side
from slopewise.analysis.claims._prelu import Rows, against_relu
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.analysis.claims._values import of_values
from slopewise.records import StudyRecord, TrialRecord

BAND = 0.02  # ratios of step times from 1 - BAND to 1 + BAND have no practical effect
_OURS, _STOCK = "as run, with the compiled kernels", "with PyTorch's own operations"


class CostPerStep(Claim):
    """Step time relative to ReLU's, with slopewise's kernels and with PyTorch's own operations."""

    id = "cost-per-step"
    number = 4
    statement = "A training step with PReLU takes slightly longer than one with ReLU."
    source = "He et al. 2015 (arXiv 1502.01852): 'negligible' cost; PyTorch issues report a slow backward pass"
    prediction = "the ratio of step times lies above 1"
    design = "a ReLU arm and an arm with learned slopes, trained in one environment"
    toml = 'arms = ["relu", "prelu_shared", "prelu_channel"]'
    statistic = (
        "geometric mean over seeds of the trial's median step time divided by that of the ReLU trial of the same seed "
        "and environment; for PyTorch's operations, multiplied by their step time relative to the kernels', measured "
        "once per arm; sign-flip test of the logarithms"
    )
    rule = (
        "Supported if the ratio is shown to lie above 1, contradicted if below, no practical effect if its interval "
        "lies within 0.98 to 1.02. Pairs with a diverged trial are left out."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the step time as run, and as it would be without the kernels."""
        return settle(self._of_operators(study, _OURS) + self._of_operators(study, _STOCK))

    def _of_operators(self, study: StudyRecord, part: str) -> Rows:
        def ratio(arm: Side, relu: Side, cautions: tuple[str, ...]) -> Measured | Finding:
            factor = _factor(study, arm, part)
            if factor is None:
                return self.not_tested(part, f"measurement of {arm.arm} {part}")
            return _ratio(study, arm, relu, part, math.log(factor), cautions)

        return against_relu(self, study, part, ratio)


def _ratio(study: StudyRecord, arm: Side, relu: Side, part: str, shift: float, cautions: tuple[str, ...]) -> Measured:
    one, other = converged(study, arm.arm), converged(study, relu.arm)
    ratios = {seed: _step_ratio(one[seed], other[seed]) for seed in one.keys() & other.keys()}
    measured_once = (
        "the step time with PyTorch's operations relative to the kernels was measured only once per arm",
    ) * (shift != 0)
    return of_values(
        study,
        (arm.arm, relu.arm),
        {seed: math.log(ratio) + shift for seed, ratio in ratios.items() if ratio is not None},
        part=part,
        subject=f"step time of {arm.arm} over that of {relu.arm}, {part}",
        predicted="higher",
        unit="×",
        digits=3,
        band=BAND,
        keys=lambda seeds: (*arm.keys(seeds), *relu.keys(seeds)),
        shown=math.exp,
        cautions=(*cautions, *measured_once),
        measure="time per step as run, ms",
        measured=lambda seeds: [1000 * (by[seed].seconds_per_step or 0.0) for by in (one, other) for seed in seeds],
    )


def _factor(study: StudyRecord, arm: Side, part: str) -> float | None:
    """Return the factor that turns recorded step times into those of a part; None if it was not measured."""
    ours = [_operators(study, trial.environment) == "kernels" for trial in arm.trials if trial.environment]
    if part == _OURS:
        return 1.0 if any(ours) else None
    if not any(ours):
        return 1.0 if ours else None
    costs = [cost.stock_ratio for trial in arm.trials for cost in trial.operator_costs]
    ratios = [cost for cost in costs if cost is not None and _positive(cost)]
    return statistics.median(ratios) if ratios else None


def _operators(study: StudyRecord, environment: str) -> str:
    operators = study.environments.get(environment, {}).get("cpu_operators") or {}
    return str(operators.get("name"))


def _step_ratio(trial: TrialRecord, base: TrialRecord) -> float | None:
    """Return the ratio of two trials' step times; None if one is missing or the environments differ."""
    time, other = trial.seconds_per_step, base.seconds_per_step
    if trial.environment != base.environment or time is None or other is None:
        return None
    return time / other if _positive(time) and _positive(other) else None


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0
