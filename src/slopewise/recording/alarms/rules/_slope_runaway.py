"""Alarm slope-runaway: a slope that has moved so far in one step that it is about to diverge."""

from __future__ import annotations

import math

from slopewise.recording._sample import SlopeSample
from slopewise.recording.alarms._base import Finding, SlopeRule, threshold
from slopewise.recording.alarms._past import Past


class SlopeRunaway(SlopeRule):
    """Raise if the largest move of a slope in one step is too large."""

    id = "slope-runaway"
    raised_when = "a slope moves by more than `runaway` in one step"
    advice = (
        "Lower the learning rate, or that of the slopes alone: param_groups(slope_lr_scale=0.1). A shared slope of "
        "torch.nn.PReLU sums its gradient over the layer; slopewise.PReLU(shared_gradient='mean') takes the mean."
    )
    rank = 30
    charts = ("slopes",)

    runaway: float = threshold(0.06, "largest ordinary move of a slope in one step")

    def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
        """Judge finite moves only; not-finite covers the others."""
        move = layer.update
        if move is None or not self.runaway < move < math.inf:
            return None
        now = layer.summary
        place = f"to {now.minimum:.3g}"
        if now.count > 1:
            place = f"and the layer's reach from {now.minimum:.3g} to {now.maximum:.3g}"
        return Finding(past.step, f"a slope moved by {move:.2g} in one step, {place}")
