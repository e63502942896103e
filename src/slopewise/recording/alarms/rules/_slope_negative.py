"""Alarm slope-negative: a layer whose slopes have fallen below 0."""

from __future__ import annotations

from slopewise.recording._slope_summary import MOST, NEAR_0, SlopeSummary
from slopewise.recording.alarms._bands import BandRule
from slopewise.recording.alarms._base import threshold
from slopewise.recording.alarms._shared import BAND_0


class SlopeNegative(BandRule):
    """Raise if enough slopes of a layer are below 0."""

    id = "slope-negative"
    raised_when = "at least the fraction `negative` of a layer's slopes is below −`near_0`"
    advice = (
        "The function falls and then rises: two inputs give one output. If accuracy suffers, bound the slopes: "
        "PReLU(bounds=(0.0, 1.0))."
    )
    rank = 90
    meaning = f"below -{NEAR_0:g} the function falls and rises: two inputs give one output"

    negative: float = threshold(MOST, "minimum fraction of a layer's slopes that are negative")
    near_0: float = threshold(*BAND_0)

    def inside(self, summary: SlopeSummary, /) -> int:
        """Return the number of slopes below 0."""
        return summary.negative

    @property
    def fraction(self) -> float:
        """Minimum fraction of the layer's slopes."""
        return self.negative

    @property
    def place(self) -> str:
        """The band, in words."""
        return f"below -{self.near_0:g}"
