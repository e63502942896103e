"""Claim 11: on small data, PReLU fits better and generalises worse."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slopewise.analysis._metrics import metrics_of
from slopewise.analysis.claims._arms import number
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._factors import rates_apart, variants
from slopewise.analysis.claims._paired import Side, compare
from slopewise.analysis.claims._prelu import Rows, against_relu
from slopewise.analysis.claims._settle import Direction, Measured, settle
from slopewise.records import StudyRecord

_LOSS, _GAP = "training loss", "generalisation gap"


class SmallData(Claim):
    """Training loss and generalisation gap on the smallest training set of the study."""

    id = "small-data"
    number = 11
    statement = "On small data, PReLU reaches a lower training loss but has a larger generalisation gap."
    source = "Xu et al. 2015 (arXiv 1505.00853): on small data, learned slopes overfit"
    prediction = "the training loss is lower than with ReLU, and the gap between training and test score is larger"
    design = "a small training set, in the study's own settings or as a factor"
    toml = '[[factors]]\nsetting = "data.train_size"\nvalues = [200]'
    statistic = (
        "mean paired differences of both figures at the final weights, for the smallest train_size of the study; exact "
        "sign-flip tests"
    )
    rule = (
        "The part on the loss is supported if its difference is shown to lie below 0, the part on the gap if above. "
        "Each is contradicted on the other side. No practical effect: the interval lies within 5 % of ReLU's loss, or, "
        "for the gap, within the study's margin. The claim needs both parts. Pairs with a diverged trial are left out."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the smallest training set."""
        sizes = [(number(variant.value) or math.inf, variant) for variant in variants(study, "data.train_size")]
        size, smallest = min(sizes, key=lambda pair: pair[0])
        metrics = metrics_of(study)
        if math.isinf(size) or not {"train_loss", "generalisation_gap"} <= metrics.keys():
            return [self.not_tested(part, "train_size: it trains on all images") for part in (_LOSS, _GAP)]

        def rows(part: str, key: str, predicted: Direction) -> Rows:
            def row(arm: Side, relu: Side, cautions: tuple[str, ...]) -> Measured:
                why = (f"{size:.0f} training images", *rates_apart(study, arm.arm, relu.arm), *cautions)
                return compare(arm, relu, metrics[key], part=part, predicted=predicted, cautions=why)

            return against_relu(self, smallest.study, part, row, cell=smallest.cell)

        return settle(rows(_LOSS, "train_loss", "lower") + rows(_GAP, "generalisation_gap", "higher"))
