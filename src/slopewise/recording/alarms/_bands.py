"""Rules about the fraction of a layer's slopes in a band: below 0, near 0, near 1, above 1."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from slopewise.recording._sample import SlopeSample
from slopewise.recording._slope_summary import SlopeSummary
from slopewise.recording.alarms._base import Chart, Concerned, Finding, SlopeRule, threshold
from slopewise.recording.alarms._past import Past
from slopewise.recording.alarms._shared import PATIENCE


class BandRule(SlopeRule):
    """Base of the rules about a band.

    Attributes:
        entered: True if slopes must have moved into the band: a layer that began there raises no alarm.
    """

    charts: ClassVar[tuple[Chart, ...]] = ("slopes",)
    entered: ClassVar[bool] = False
    patience: int = threshold(*PATIENCE)

    @abstractmethod
    def inside(self, summary: SlopeSummary, /) -> int:
        """Return the number of slopes in the band."""

    @property
    @abstractmethod
    def fraction(self) -> float:
        """Minimum fraction of a layer's slopes in the band for the layer to raise the alarm."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The band, in words."""

    def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
        """Judge a layer by how many of its slopes are in the band, and for how long."""
        summary = layer.summary
        streak = past.streak(self._full(summary) and not (self.entered and self._full(past.first.summary)))
        if streak is None or streak.samples < self.patience:
            return None
        evidence = f"{self.inside(summary)} of {summary.count} slopes {self.place}; median {summary.median:.3g}"
        if summary.count == 1:
            evidence = f"the slope, {summary.median:.3g}, is {self.place}"
        return Finding(streak.since, evidence)

    def from_slopes(self, summary: SlopeSummary, /) -> Concerned | None:
        """Judge by the slopes alone. Slopes that never moved began in the band."""
        if not self._full(summary) or (self.entered and summary.untrained):
            return None
        return Concerned(self.inside(summary))

    def _full(self, summary: SlopeSummary) -> bool:
        return self.inside(summary) >= self.fraction * summary.count
