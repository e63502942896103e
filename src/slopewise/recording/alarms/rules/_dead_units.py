"""Alarm dead-units: units of a call site that no longer get a positive input or a gradient."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.recording._sample import SiteSample
from slopewise.recording.alarms._base import Finding, SiteRule, threshold
from slopewise.recording.alarms._past import Past
from slopewise.recording.alarms._shared import PATIENCE, VALUES

_LISTED = 8  # units that the evidence names


class DeadUnits(SiteRule):
    """Raise if enough units of a call site have been dead for long enough. Each unit has its own streak."""

    id = "dead-units"
    raised_when = "at least the fraction `dead` of a site's units gets neither a positive input nor a gradient"
    advice = (
        "They seldom come back: only a change in the layers below can wake them. Lower the learning rate or warm it "
        "up, look at large negative biases, or give the units a negative slope: those of PReLU and LeakyReLU go on "
        "learning."
    )
    rank = 40
    charts = ("dead",)

    dead: float = threshold(0.5, "minimum fraction of a site's units that are dead")
    patience: int = threshold(*PATIENCE)
    values: int = threshold(*VALUES)

    def judge(self, site: SiteSample, past: Past[SiteSample], /) -> Finding | None:
        """Judge a site by the units whose streaks are long enough."""
        streaks = past.streaks_of(site.dead, site.values)
        lasting = [
            unit for unit in site.dead if streaks[unit].samples >= self.patience and streaks[unit].values >= self.values
        ]
        if not lasting or len(lasting) < self.dead * site.units:
            return None
        values = min(streaks[unit].values for unit in lasting)
        evidence = f"{len(lasting)} of {site.units} units dead: {_some(lasting)}; none of {values} values above 0"
        return Finding(min(streaks[unit].since for unit in lasting), evidence)


def _some(units: Sequence[int]) -> str:
    shown = [str(unit) for unit in units[:_LISTED]]
    rest = [f"{len(units) - _LISTED} more"] if len(units) > _LISTED else []
    *most, last = shown + rest
    return f"{', '.join(most)} and {last}" if most else last
