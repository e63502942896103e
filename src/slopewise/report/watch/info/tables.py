"""Latest state of a recording as rows of text, with the sentences around them, for the page and the terminal."""

from __future__ import annotations

from slopewise.drawing import NOTHING, compact, count, listing, number
from slopewise.recording import Alarm, AlarmId, Recording

Row = tuple[str, ...]
SITES: Row = (
    "call site",
    "activation",
    "units",
    "positive",
    "never positive",
    "always positive",
    "zero gradient",
    "dead",
    "dead since step",
    "pass-through",
)
SLOPES: Row = (
    "layer",
    "slopes",
    "median",
    "lowest",
    "highest",
    "gradient SNR",
    "update ratio",
    "vs weights",
    "from start",
)
LAYERS: Row = ("layer", "gradient norm", "weight norm", "update norm", "update ratio")
NOT_FINITE: Row = ("where", "what")


def site_rows(recording: Recording) -> tuple[Row, ...]:
    """Return the latest sample of each call site under the columns `SITES`, with numbers of units.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> site_rows(synthetic_recording(layers=2))[1][:9]
        ('block1.act', 'relu', '16', '18 %', '11', '0', '11', '11', '401')
    """
    latest = {site.site: site for sample in recording.samples for site in sample.sites}
    since = _dead_since(recording)
    return tuple(
        (
            site.site,
            site.activation,
            str(site.units),
            f"{number(100 * site.positive, 0)} %",
            str(len(site.never_positive)),
            str(len(site.always_positive)),
            _length(site.zero_gradient),
            _length(None if site.zero_gradient is None else site.dead),
            str(since.get(site.site, "")),
            number(site.pass_through, 2),
        )
        for site in latest.values()
    )


def slope_rows(recording: Recording) -> tuple[Row, ...]:
    """Return the latest sample of each layer's slopes under the columns `SLOPES`."""
    latest = {layer.layer: layer for sample in recording.samples for layer in sample.slopes}
    return tuple(
        (
            layer.layer,
            str(layer.summary.count),
            *(_slope(value) for value in (layer.summary.median, layer.summary.minimum, layer.summary.maximum)),
            compact(layer.signal_to_noise),
            compact(layer.update_ratio),
            compact(layer.against_weights),
            compact(layer.from_start),
        )
        for layer in latest.values()
    )


def layer_rows(recording: Recording) -> tuple[Row, ...]:
    """Return the latest sample of each layer's weights under the columns `LAYERS`."""
    latest = {layer.layer: layer for sample in recording.samples for layer in sample.layers}
    return tuple(
        (layer.layer, *map(compact, (layer.gradient, layer.weight, layer.update, layer.update_ratio)))
        for layer in latest.values()
    )


def not_finite_rows(recording: Recording) -> tuple[Row, ...]:
    """Return what is NaN or infinite in the latest sample under the columns `NOT_FINITE`."""
    if not recording.samples:
        return ()
    latest = recording.samples[-1]
    rows = [(x.site, f"{len(x.not_finite)} of {count(x.units, 'unit')}") for x in latest.sites if x.not_finite]
    rows += [
        (x.layer, f"{x.summary.count - x.summary.finite} of {count(x.summary.count, 'slope')}")
        for x in latest.slopes
        if x.summary.finite < x.summary.count
    ]
    return tuple(rows + [(x.layer, listing(x.not_finite)) for x in latest.layers if x.not_finite])


def by_id(recording: Recording) -> dict[AlarmId, list[Alarm]]:
    """Return the alarms by kind, the most serious kind first."""
    by_kind: dict[AlarmId, list[Alarm]] = {}
    for alarm in sorted(recording.alarms, key=lambda alarm: alarm.rank):
        by_kind.setdefault(alarm.id, []).append(alarm)
    return by_kind


def verdict(recording: Recording) -> str:
    """Return the number and the kinds of the alarms, in words.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> verdict(synthetic_recording(layers=3)), verdict(synthetic_recording(layers=1))
        ('3 alarms: slope-runaway, dead-units and slope-above-1', 'no alarms')
    """
    if not recording.alarms:
        return "no alarms"
    kinds = [kind if len(alarms) == 1 else f"{kind} ({len(alarms)})" for kind, alarms in by_id(recording).items()]
    return f"{count(len(recording.alarms), 'alarm')}: {listing(kinds)}"


def extent(recording: Recording) -> str:
    """Return the number of samples and steps, in words.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> extent(synthetic_recording(layers=1, samples=3))
        '3 samples, one every 50 steps, of 150 steps'
    """
    every, samples = recording.header.every, recording.samples
    sampled = count(len(samples), "sample") + (f", one every {every} steps" if every > 1 else "")
    dropped = sum(sample.dropped for sample in samples)
    after = f"; in {'one backward pass' if dropped == 1 else f'{dropped} backward passes'} of these no step followed"
    lost = after if dropped else ""
    if recording.end:
        return f"{sampled}, of {count(recording.end.step, 'step')}{lost}"
    return f"{sampled}, up to step {samples[-1].step} so far{lost}" if samples else f"{sampled} so far"


def overhead(recording: Recording) -> str:
    """Return the time that measuring took, with its share of the run's time once the run has ended.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> overhead(synthetic_recording(layers=1, samples=3))
        'Measuring took 0.4 % of the time: 0.0120 of 3.01 seconds.'
    """
    end = recording.end
    if end is None:
        return f"Measuring took {number(sum(sample.seconds for sample in recording.samples))} seconds so far."
    share = f"{number(100 * end.overhead / end.seconds, 1)} % of the time: " if end.seconds else ""
    return f"Measuring took {share}{number(end.overhead)} of {number(end.seconds)} seconds."


def _dead_since(recording: Recording) -> dict[str, int]:
    """Return the sampled step since which each call site with dead units has had some in every sample."""
    since: dict[str, int] = {}
    alive: set[str] = set()  # sites with a sample without dead units, later than those looked at
    for sample in reversed(recording.samples):
        sites = [site for site in sample.sites if site.site not in alive]
        if not sites and alive:
            break
        for site in sites:
            if site.dead:
                since[site.site] = sample.step
            else:
                alive.add(site.site)
    return since


def _length(units: tuple[int, ...] | None) -> str:
    return NOTHING if units is None else str(len(units))


def _slope(value: float) -> str:
    return number(value, 3) if abs(value) < 1e4 else compact(value)  # or NaN
