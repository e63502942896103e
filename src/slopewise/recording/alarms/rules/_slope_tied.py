"""Alarm slope-tied: one PReLU at several places."""

from __future__ import annotations

from slopewise.recording._sample import SlopeSample
from slopewise.recording.alarms._base import Finding, SlopeRule
from slopewise.recording.alarms._past import Past


class SlopeTied(SlopeRule):
    """Blames a layer that several call sites share."""

    id = "slope-tied"
    raised_when = "one PReLU is applied at several places"
    advice = (
        "One PReLU at several places has one slope for all of them. Give each place a module of its own; "
        "slopewise.convert does that."
    )
    rank = 80
    charts = ("slopes",)
    setup = True

    def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
        """Find fault with a layer that the monitor has seen at several places."""
        tie = past.facts.tied.get(layer.layer)
        return None if tie is None else Finding(past.step, tie)
