"""Alarm not-finite: NaN or infinity, with the first place."""

from __future__ import annotations

from slopewise.recording._sample import MOST_DROPPED, Sample
from slopewise.recording._slope_summary import SlopeSummary
from slopewise.recording.alarms._base import Concerned, Finding, RunRule
from slopewise.recording.alarms._past import Past


class NotFinite(RunRule):
    """Raise at the first place of a step: weights and slopes before it, pre-activations, gradients, slopes after it.

    The first gradient is that of the last layer, where the backward pass begins.
    """

    id = "not-finite"
    raised_when = "a number is NaN or infinite; the alarm names the first place"
    advice = (
        "Look at the first place named: the others follow from it. Check the input, the loss and half precision there; "
        "else lower the learning rate, or clip gradients."
    )
    rank = 10
    charts = ("dead", "slopes", "gradients")
    meaning = "NaN or infinite: training has diverged"

    def judge(self, sample: Sample, past: Past[Sample], /) -> Finding | None:
        """Judge by the first place that is not finite."""
        weights = [layer.layer for layer in sample.layers if "weight" in layer.not_finite]
        before = [layer.layer for layer in sample.slopes if layer.not_finite_before]
        sites = [site for site in sample.sites if site.not_finite]
        # An update of 0 is a GradScaler at work: it lets a fused optimizer leave out a step whose gradients overflowed.
        gradients = [layer.layer for layer in sample.layers if "gradient" in layer.not_finite and layer.update != 0]
        slopes = [layer.layer for layer in sample.slopes if self.from_slopes(layer.summary)]
        if weights:
            where, what = weights[0], "its parameters were so before this step"
        elif before:
            where, what = before[0], "its slopes were so before this step"
        elif sites:
            where, what = sites[0].site, f"pre-activations of {len(sites[0].not_finite)} of {sites[0].units} units"
        elif gradients:
            where, what = gradients[-1], "its gradient"
        elif slopes:
            where, what = slopes[0], "its slopes"
        elif sample.dropped >= MOST_DROPPED:
            what = f"{sample.dropped} backward passes without a step, as if a GradScaler had skipped each"
            return Finding(past.run.previous_step + 1, what, "the loss")
        else:
            return None
        parts = (
            (len(weights), len(sample.layers), "layers' parameters"),
            (len(sites), len(sample.sites), "call sites"),
            (len(gradients), len(sample.layers), "layers' gradients"),
            (len(slopes), len(sample.slopes), "layers' slopes"),
        )
        extent = ", ".join(f"{count} of {total} {name}" for count, total, name in parts if count)
        return Finding(past.run.previous_step + 1, f"{what}; in all {extent}", where)

    def from_slopes(self, summary: SlopeSummary, /) -> Concerned | None:
        """Judge slopes by themselves: any that is not finite is a fault."""
        return Concerned(summary.count - summary.finite) if summary.finite < summary.count else None
