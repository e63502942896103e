"""Alarm slope-near-0: a layer that has become a ReLU."""

from __future__ import annotations

from slopewise.recording._slope_summary import NEAR_0, SlopeSummary
from slopewise.recording.alarms._bands import BandRule
from slopewise.recording.alarms._base import threshold
from slopewise.recording.alarms._shared import BAND_0, MAJORITY


class SlopeNear0(BandRule):
    """Raise if enough slopes of a layer have come near 0."""

    id = "slope-near-0"
    raised_when = "at least the fraction `most` of a layer's slopes has come within `near_0` of 0"
    advice = "The layer has become a ReLU; slopewise.fold can make it one. Check that the slopes take no weight decay."
    rank = 110
    meaning = f"most slopes are within {NEAR_0:g} of 0: the layer has become a ReLU"
    entered = True

    most: float = threshold(*MAJORITY)
    near_0: float = threshold(*BAND_0)

    def inside(self, summary: SlopeSummary, /) -> int:
        """Return the number of slopes near 0."""
        return summary.near_0

    @property
    def fraction(self) -> float:
        """Minimum fraction of the layer's slopes."""
        return self.most

    @property
    def place(self) -> str:
        """The band, in words."""
        return f"within {self.near_0:g} of 0"
