"""Conversion of a monitor's measurements to the records of a trial."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator

from slopewise.monitor import Alarm, Sample
from slopewise.recording import SlopeSummary
from slopewise.records import AlarmRecord, GradientRecord, SiteRecord


def site_records(epoch: int, sample: Sample, layers: Collection[str]) -> Iterator[SiteRecord]:
    """Yield records of the call sites of these layers; slopes are recorded at the first call site of their layer."""
    slopes = {layer.layer: layer.summary for layer in sample.slopes}
    for site in sample.sites:
        if site.site.partition(" (")[0] not in layers:
            continue
        summary = slopes.get(site.site)
        yield SiteRecord(
            epoch=epoch,
            layer=site.site,
            units=site.units,
            slopes=summary.count if summary else 0,
            slope_min=_finite(summary.minimum) if summary else None,
            slope_q1=_finite(summary.lower_quartile) if summary else None,
            slope_median=_finite(summary.median) if summary else None,
            slope_q3=_finite(summary.upper_quartile) if summary else None,
            slope_max=_finite(summary.maximum) if summary else None,
            never_positive=len(site.never_positive) / site.units,
            zero_gradient=None if site.zero_gradient is None else len(site.zero_gradient) / site.units,
            always_positive=len(site.always_positive) / site.units,
            positive=site.positive,
            pass_through=site.pass_through,
            slopes_below_0=_fraction(summary.below_0, summary) if summary else None,
            slopes_above_1=_fraction(summary.beyond_1, summary) if summary else None,
        )


def gradient_records(epoch: int, sample: Sample) -> Iterator[GradientRecord]:
    """Yield the gradient norms of a sample's layers; 0 for a layer that no gradient reached."""
    for layer in sample.layers:
        known = layer.gradient if layer.gradient is not None or layer.not_finite else 0.0
        yield GradientRecord(epoch, layer.layer, known)


def alarm_records(alarms: Iterable[Alarm]) -> tuple[AlarmRecord, ...]:
    """Return a monitor's alarms as records."""
    return tuple(AlarmRecord(alarm.id, alarm.where, alarm.step, alarm.since, alarm.evidence) for alarm in alarms)


def _fraction(number: int | None, summary: SlopeSummary) -> float | None:
    return None if number is None else number / summary.count


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
