"""Alarm slope-tied: one PReLU at several call sites."""

from __future__ import annotations

from slopewise.recording._sample import SlopeSample
from slopewise.recording.alarms._base import Finding, SlopeRule
from slopewise.recording.alarms._past import Past


class SlopeTied(SlopeRule):
    """Raise if several call sites share a layer."""

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
        """Judge a layer that the monitor has seen at several places a fault."""
        tie = past.facts.tied.get(layer.layer)
        return None if tie is None else Finding(past.step, tie)
