"""Alarm slope-uninitialised: slopes that were never initialised."""

from __future__ import annotations

from slopewise.recording._sample import SlopeSample
from slopewise.recording._slope_summary import LARGEST
from slopewise.recording.alarms._base import Finding, SlopeRule
from slopewise.recording.alarms._past import Past


class SlopeUninitialised(SlopeRule):
    """Raise if a slope, before the first sampled step, is larger than any initial or trained value."""

    id = "slope-uninitialised"
    raised_when = f"a slope was beyond ±{LARGEST:g} before the first sampled step"
    advice = (
        "Load slopes, or call reset_parameters() of each PReLU: transformers' from_pretrained leaves slopes that a "
        "checkpoint lacks uninitialised."
    )
    rank = 20
    charts = ("slopes",)
    setup = True

    def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
        """Judge a layer by its first sample."""
        furthest = layer.furthest_before
        if not past.begins or furthest is None or abs(furthest) <= LARGEST:
            return None
        which = "the slope" if layer.summary.count == 1 else f"of {layer.summary.count} slopes one"
        return Finding(past.step, f"{which} was {furthest:.3g} at the start")
