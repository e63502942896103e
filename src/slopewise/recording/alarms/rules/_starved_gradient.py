"""Alarm starved-gradient: layers that get almost no gradient, compared with those above them."""

from __future__ import annotations

from statistics import median

from slopewise.recording._sample import Sample
from slopewise.recording.alarms._base import Finding, RunRule, threshold
from slopewise.recording.alarms._past import Past
from slopewise.recording.alarms._shared import PATIENCE

_ABOVE = 3  # layers that give a median: a new head alone, with weights near 0, has a large ratio


class StarvedGradient(RunRule):
    """Raise at the highest layer up to which all layers from the input on are starved."""

    id = "starved-gradient"
    raised_when = "up to some layer, gradients over weights are less than `starved` times those above it"
    advice = (
        "The layers below learn almost nothing. Normalise, add shortcuts, or initialise with slopewise.init.kaiming; "
        "a larger negative slope passes more gradient."
    )
    rank = 50
    charts = ("gradients",)

    starved: float = threshold(1e-4, "ratio of gradient to weight norm below a layer, over the median ratio above it")
    patience: int = threshold(*PATIENCE)

    def judge(self, sample: Sample, past: Past[Sample], /) -> Finding | None:
        """Judge by the highest starved layer.

        A sample with a norm that is not finite is not judged, because the other layers say little about the whole.
        """
        if any(layer.not_finite for layer in sample.layers):
            return None
        ratios = [
            (layer.layer, layer.gradient / layer.weight)
            for layer in sample.layers
            if layer.gradient is not None and layer.weight
        ]
        highest = None
        for count in range(1, len(ratios) - _ABOVE + 1):
            below, above = max(ratio for _, ratio in ratios[:count]), median(ratio for _, ratio in ratios[count:])
            if above > 0 and below < self.starved * above:
                highest = ratios[count - 1][0], below, above
        streak = past.streak(highest is not None)
        if highest is None or streak is None or streak.samples < self.patience:
            return None
        where, below, above = highest
        evidence = f"gradient over weight is {below:.1e} at most from the input up to here, {above:.1e} above"
        return Finding(streak.since, evidence, where)
