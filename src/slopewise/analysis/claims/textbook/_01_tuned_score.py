"""Claim 1: with a learning rate tuned for each arm, PReLU reaches a better final score than ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._paired import compare_scores
from slopewise.analysis.claims._prelu import against_relu
from slopewise.analysis.claims._settle import Measured, beside, settle
from slopewise.records import StudyRecord


class TunedScore(Claim):
    """Final score on fresh seeds, with each arm at the learning rate that tuning chose for it."""

    id = "tuned-score"
    number = 1
    statement = (
        "With a learning rate tuned for each, a network with PReLU reaches a better final score than one with ReLU."
    )
    source = "He et al. 2015 (arXiv 1502.01852): top-1 error 33.82 % with ReLU, 32.64 % with PReLU, one run each"
    prediction = "the final score is better than ReLU's"
    design = "learning rates tuned for each arm on seeds of their own, a ReLU arm and an arm with learned slopes"
    toml = 'arms = ["relu", "prelu_shared", "prelu_channel"]\n\n[tune]\nlr = [0.003, 0.3]\npoints = 8\nseeds = 3'
    statistic = "mean paired difference of the final score, over seeds that tuning did not use; exact sign-flip test"
    rule = (
        "Supported if the difference is shown to be an improvement, contradicted if it is shown to be the opposite, no "
        "practical effect if its interval lies within the study's margin. A diverged trial counts as chance."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the trials under the study's own settings, which use the tuned rates if the spec has [tune]."""
        rows = against_relu(
            self,
            study,
            "final score",
            lambda arm, relu, cautions: compare_scores(arm, relu, part="final score", cautions=cautions),
        )
        if study.spec.get("tune"):
            return settle(rows)
        untuned = [beside(row) for row in rows if isinstance(row, Measured)]
        return settle([self.not_tested("final score", "[tune]: all arms have one learning rate"), *untuned])
