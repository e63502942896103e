"""Alarm slope-above-1: a layer whose slopes have risen above 1."""

from __future__ import annotations

from slopewise.recording._slope_summary import MOST, NEAR_1, SlopeSummary
from slopewise.recording.alarms._bands import BandRule
from slopewise.recording.alarms._base import threshold
from slopewise.recording.alarms._shared import BAND_1


class SlopeAbove1(BandRule):
    """Raise if enough slopes of a layer are above 1."""

    id = "slope-above-1"
    raised_when = "at least the fraction `above_1` of a layer's slopes is above 1 + `near_1`"
    advice = (
        "Negative inputs are amplified, and with depth so are activations and gradients. Lower the slopes' learning "
        "rate, or bound them: PReLU(bounds=(0.0, 1.0))."
    )
    rank = 100
    meaning = f"above {1 + NEAR_1:g} negative inputs are amplified: activations and gradients can grow with depth"

    above_1: float = threshold(MOST, "minimum fraction of a layer's slopes that are above 1")
    near_1: float = threshold(*BAND_1)

    def inside(self, summary: SlopeSummary, /) -> int:
        """Return the number of slopes above 1."""
        return summary.above_1

    @property
    def fraction(self) -> float:
        """Minimum fraction of the layer's slopes."""
        return self.above_1

    @property
    def place(self) -> str:
        """The band, in words."""
        return f"above {1 + self.near_1:g}"
