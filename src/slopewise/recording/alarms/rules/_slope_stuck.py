"""Alarm slope-stuck: slopes that have not moved at all, though they are not frozen on purpose."""

from __future__ import annotations

from slopewise.recording._sample import SlopeSample
from slopewise.recording._slope_summary import SlopeSummary
from slopewise.recording.alarms._base import Concerned, Finding, SlopeRule, threshold
from slopewise.recording.alarms._past import Past


class SlopeStuck(SlopeRule):
    """Raise if a layer does not learn its slopes, though they require gradients."""

    id = "slope-stuck"
    raised_when = "a layer's slopes have exactly their initial values for `stuck` samples"
    advice = (
        "Most often the optimizer does not hold the slopes, or no gradient reaches them: print "
        "slopewise.param_groups(model, ...) to see which slopes there are."
    )
    rank = 130
    charts = ("slopes",)
    meaning = (
        "all slopes are exactly one number, or a single one a round number: no gradient reached them, or they are "
        "frozen or at a bound"
    )

    stuck: int = threshold(5, "consecutive samples after which slopes that have not moved are stuck")

    def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
        """Judge slopes that do not move a fault, unless a learning rate of 0 freezes them on purpose."""
        fixed = past.facts.rates.get(layer.layer) == 0
        cause = _cause(layer) if layer.from_start == 0 and not fixed else ""
        streak = past.streak(bool(cause))
        if streak is None or streak.samples < self.stuck:
            return None
        summary = layer.summary
        place = f"all {summary.count} at {summary.median:g}, where they began"
        if summary.count == 1:
            place = f"at {summary.median:g}, where it began"
        return Finding(streak.since, f"{place}: {cause}")

    def from_slopes(self, summary: SlopeSummary, /) -> Concerned | None:
        """Judge by exact equality, the only trace in a checkpoint of slopes that never moved."""
        return Concerned(summary.count, summary.same) if summary.untrained else None


def _cause(layer: SlopeSample) -> str:
    """Return the reason why slopes do not move; empty if it may be intended."""
    if layer.update is None:
        return "no optimizer moves them"
    if not layer.gradient:
        return "no gradient reaches them"
    return "each move is too small for their dtype" if layer.summary.rounded else ""
