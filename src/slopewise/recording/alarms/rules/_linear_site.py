"""Alarm linear-site: an activation whose inputs all lie in a range where it is linear."""

from __future__ import annotations

from slopewise.recording._sample import SiteSample
from slopewise.recording.alarms._base import Finding, SiteRule, threshold
from slopewise.recording.alarms._past import Past
from slopewise.recording.alarms._shared import PATIENCE, VALUES

# f(z) = z for z > 0, up to a constant factor. GELU, SiLU, Mish and Hardswish are curved there.
_LINEAR_ABOVE = frozenset({"relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu"})
_LINEAR_BELOW = frozenset({"leaky_relu", "prelu"})


class LinearSite(SiteRule):
    """Raise if enough units of a call site have had inputs of one sign for long enough."""

    id = "linear-site"
    raised_when = "at least the fraction `linear` of a site's units is linear, because its inputs have one sign"
    advice = (
        "The activation and the layers around it are one linear map. Look for an input of one sign (after a sigmoid or "
        "a softplus, for example), and for large biases."
    )
    rank = 60
    charts = ("always-positive",)

    linear: float = threshold(0.9, "minimum fraction of a site's units that are linear on their inputs")
    patience: int = threshold(*PATIENCE)
    values: int = threshold(*VALUES)

    def judge(self, site: SiteSample, past: Past[SiteSample], /) -> Finding | None:
        """Judge a site by its units that get a gradient: dead-units covers the others."""
        stopped = set(site.zero_gradient or ())
        above = set(site.always_positive) - stopped if site.activation in _LINEAR_ABOVE else set()
        below = set(site.never_positive) - stopped if site.activation in _LINEAR_BELOW else set()
        streak = past.streak(len(above | below) >= self.linear * site.units, site.values)
        if streak is None or streak.samples < self.patience or streak.values < self.values:
            return None
        sides = ((above, "below"), (below, "above"))
        words = " and ".join(f"{len(units)} of {site.units} units none {side} 0" for units, side in sides if units)
        return Finding(streak.since, f"of {streak.values} values, {words}")
