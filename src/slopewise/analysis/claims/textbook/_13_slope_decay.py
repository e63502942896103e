"""Claim 13: weight decay on slopes pulls them to 0, and hurts."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.analysis._metrics import Metric
from slopewise.analysis.claims._arms import Arm, arms_of
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._factors import variants
from slopewise.analysis.claims._paired import Side, compare, compare_scores, worse
from slopewise.analysis.claims._settle import settle
from slopewise.analysis.claims._slopes import mean_size
from slopewise.records import StudyRecord

BAND = 0.01  # mean sizes of slopes; smaller differences have no practical effect
_SLOPES, _SCORE = "size of the slopes", "final score"
_SETTINGS = ("train.slope_weight_decay", "arm.slope_weight_decay")


class SlopeDecay(Claim):
    """Final slopes and score with more weight decay on the slopes, against those with less or none."""

    id = "slope-decay"
    number = 13
    statement = "Weight decay on the slopes pulls them to 0, and hurts."
    source = "He et al. 2015 (arXiv 1502.01852): decay pushes slopes to 0, which 'biases PReLU toward ReLU'"
    prediction = "with decay, slopes are smaller and the final score is worse"
    design = "weight decay on the slopes as a factor, or as a setting of one of two otherwise equal arms"
    toml = (
        '[[factors]]\nsetting = "train.slope_weight_decay"\nvalues = [5e-4]\narms = ["prelu_shared", "prelu_channel"]'
    )
    statistic = (
        "mean paired differences (larger minus smaller decay) of the mean absolute final slope of the layers, and of "
        "the final score; exact sign-flip tests"
    )
    rule = (
        "The part on the slopes is supported if their difference is shown to lie below 0, the part on the score if the "
        "score is shown to be worse. Each is contradicted on the other side. No practical effect: the interval lies "
        "within 0.01 for the slopes, within the study's margin for the score. The claim needs both parts. In the "
        "score, a diverged trial counts as chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge each pair of sides that differ only in the weight decay of the slopes."""
        metric = Metric("slope_size", "mean size of the slopes", "", "lower", 3, lambda trial, _: mean_size(trial))
        rows = []
        for more, less in pairs_by_decay(study):
            rows.append(compare(more, less, metric, part=_SLOPES, predicted="lower", band=BAND))
            rows.append(compare_scores(more, less, part=_SCORE, predicted=worse(study)))
        if rows:
            return settle(rows)
        return [self.not_tested(part, "arm with and without weight decay on its slopes") for part in (_SLOPES, _SCORE)]


def pairs_by_decay(study: StudyRecord) -> list[tuple[Side, Side]]:
    """Return the pairs of sides that differ only in the weight decay of the slopes, the larger decay first."""
    own = [arm for arm in arms_of(study).values() if arm.learned and arm.fresh]
    pairs = [
        (Side(study, more.name), Side(study, less.name))
        for more in own
        for less in own
        if more.slope_decay > less.slope_decay and _alike(more, less)
    ]
    for setting in _SETTINGS:
        for variant in variants(study, setting)[1:]:
            inside = arms_of(variant.study)
            for arm in own:
                other = inside.get(arm.name)
                if other is None or other.slope_decay == arm.slope_decay:
                    continue
                sides = Side(variant.study, arm.name, variant.cell), Side(study, arm.name)
                pairs.append(sides if other.slope_decay > arm.slope_decay else (sides[1], sides[0]))
    return pairs


def _alike(one: Arm, other: Arm) -> bool:
    return (one.activation, dict(one.options), one.lr, one.slope_rate) == (
        other.activation,
        dict(other.options),
        other.lr,
        other.slope_rate,
    )
