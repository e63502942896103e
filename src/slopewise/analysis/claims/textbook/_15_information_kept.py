"""Claim 15: with PReLU, a layer's output keeps more of its input."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from slopewise.analysis._metrics import Metric
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._paired import Side, compare
from slopewise.analysis.claims._prelu import Rows, against_relu
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.records import StudyRecord, TrialRecord

BAND = 1.0  # hundredths of the score; smaller differences have no practical effect
MEASURES = {"linear_probe": ("linear probe", "points"), "reconstruction": ("reconstruction", "hundredths")}


class InformationKept(Claim):
    """Scores of a linear probe on each layer's output, and of a reconstruction of the image from it."""

    id = "information-kept"
    number = 15
    statement = "PReLU keeps information that ReLU throws away with the negative inputs."
    source = "textbooks: information from negative inputs is kept"
    prediction = "a linear probe on a layer's output, and a reconstruction from it, do better than with ReLU"
    design = "probe and reconstruction scores of the layers, for a ReLU arm and an arm with learned slopes"
    toml = "[monitor]\ninformation = true"
    statistic = "mean paired difference of the score on held-out images, averaged over the layers; exact sign-flip test"
    rule = (
        "Each part is supported if the difference is shown to lie above 0, contradicted if below, no practical effect "
        "if its interval lies within 0.01; the claim needs both. Pairs with a diverged trial are left out."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge both measures."""
        return settle(row for measure in MEASURES for row in self._of_measure(study, measure))

    def _of_measure(self, study: StudyRecord, measure: str) -> Rows:
        title, unit = MEASURES[measure]
        if not any(row.measure == measure for trial in study.trials for row in trial.layer_scores):
            return [self.not_tested(title, "scores of its layers' outputs")]
        metric = Metric(measure, f"{title} score", unit, "higher", 2, lambda trial, _: _mean(trial, measure))

        def row(arm: Side, relu: Side, cautions: tuple[str, ...]) -> Measured:
            return compare(arm, relu, metric, part=title, predicted="higher", band=BAND, cautions=cautions)

        return against_relu(self, study, title, row)


def _mean(trial: TrialRecord, measure: str) -> float | None:
    values = [row.value for row in trial.layer_scores if row.measure == measure and row.value is not None]
    finite = [100 * value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else None
