"""Claim 5: fewer units die with PReLU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from slopewise.analysis._metrics import unit_metric
from slopewise.analysis._sites import last_percentage
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._paired import Side, compare
from slopewise.analysis.claims._prelu import Rows, against_relu
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.records import StudyRecord, TrialRecord

Fraction = Literal["never_positive", "zero_gradient"]


class LivingUnits(Claim):
    """Fractions of never-positive units and, separately, of zero-gradient units after training."""

    id = "living-units"
    number = 5
    statement = "With PReLU, fewer units die."
    source = "textbooks: PReLU mitigates dying ReLUs; Maas et al. 2013; Lu et al. 2019 (arXiv 1903.06733)"
    prediction = "fewer units than with ReLU are never positive, and fewer pass no gradient"
    design = "a ReLU arm and an arm with learned slopes"
    toml = 'arms = ["relu", "prelu_shared", "prelu_channel"]'
    statistic = (
        "mean paired difference of the share of all units, in percent, on a fixed probe batch after the last epoch. A "
        "never-positive unit still passes a gradient with PReLU, so the two parts are judged separately"
    )
    rule = (
        "Each part is supported if the difference is shown to lie below 0, contradicted if above, no practical effect "
        "if its interval lies within 1 point; the claim needs both. Pairs with a diverged trial are left out."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge both kinds of dead units."""
        never = self._units(study, "never-positive units", "never_positive")
        return settle(never + self._units(study, "zero-gradient units", "zero_gradient"))

    def _units(self, study: StudyRecord, part: str, fraction: Fraction) -> Rows:
        metric = unit_metric(fraction, part, lambda trial, _: _share(trial, fraction))

        def units(arm: Side, relu: Side, cautions: tuple[str, ...]) -> Measured:
            return compare(arm, relu, metric, part=part, predicted="lower", cautions=cautions)

        return against_relu(self, study, part, units)


def _share(trial: TrialRecord, fraction: Fraction) -> float | None:
    share = last_percentage(trial, fraction)
    return share if share is None or math.isfinite(share) else None
