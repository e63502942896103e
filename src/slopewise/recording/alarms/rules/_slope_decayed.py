"""Alarm slope-decayed: weight decay on slopes."""

from __future__ import annotations

from slopewise.recording._sample import SlopeSample
from slopewise.recording.alarms._base import Finding, SlopeRule
from slopewise.recording.alarms._past import Past


class SlopeDecayed(SlopeRule):
    """Raise if an optimizer applies weight decay to the slopes of a layer."""

    id = "slope-decayed"
    raised_when = "the optimizer applies weight decay to slopes"
    advice = "Decay pulls slopes to 0, which is ReLU. Build the optimizer from slopewise.param_groups(model, ...)."
    rank = 70
    charts = ("slopes",)
    setup = True

    def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
        """Judge any decay a fault, unless a learning rate of 0 freezes the slopes on purpose."""
        decay = past.facts.decays.get(layer.layer)
        if decay is None or past.facts.rates.get(layer.layer) == 0:
            return None
        slopes = "the slope" if layer.summary.count == 1 else f"{layer.summary.count} slopes"
        return Finding(past.step, f"weight decay {decay:g} on {slopes}")
