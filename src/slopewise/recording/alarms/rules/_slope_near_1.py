"""Alarm slope-near-1: a layer that has become linear."""

from __future__ import annotations

from slopewise.recording._slope_summary import NEAR_1, SlopeSummary
from slopewise.recording.alarms._bands import BandRule
from slopewise.recording.alarms._base import threshold
from slopewise.recording.alarms._shared import BAND_1, MAJORITY


class SlopeNear1(BandRule):
    """Raise if enough slopes of a layer have come near 1."""

    id = "slope-near-1"
    raised_when = "at least the fraction `most` of a layer's slopes has come within `near_1` of 1"
    advice = "The layer has become linear; slopewise.fold can drop it. Two linear layers in a row are one."
    rank = 120
    meaning = f"most slopes are within {NEAR_1:g} of 1: the layer has become linear"
    entered = True

    most: float = threshold(*MAJORITY)
    near_1: float = threshold(*BAND_1)

    def inside(self, summary: SlopeSummary, /) -> int:
        """Return the number of slopes near 1."""
        return summary.near_1

    @property
    def fraction(self) -> float:
        """Minimum fraction of the layer's slopes."""
        return self.most

    @property
    def place(self) -> str:
        """The band, in words."""
        return f"within {self.near_1:g} of 1"
