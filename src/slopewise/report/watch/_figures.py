"""Charts of a watched run, in sections with texts that explain them, for the offline and the live page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slopewise.drawing import Chart, Mark, Scale, heat_map, spaced
from slopewise.recording import Recording, Sample
from slopewise.report.watch import _cells as cells
from slopewise.report.watch._gradient_profile import gradient_profile


@dataclass(frozen=True, slots=True)
class Section:
    """Charts under one heading.

    Attributes:
        key: Id of the section on the page.
        title: Heading.
        how: Explanation of the charts in a few sentences.
        charts: Charts, the main one first. Charts with nothing to draw are left out.
        notes: Sentences in place of charts that are left out.
    """

    key: str
    title: str
    how: str
    charts: tuple[Chart, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Map:
    """A heat map; it marks the alarms whose rules name its key."""

    key: str
    title: str
    cells: cells.Cells
    scale: Scale


_UNITS = {  # by the end of the sentence "At none of the steps drawn is a unit ..."
    "dead": _Map("dead", "Dead units", cells.units(cells.dead, "dead"), cells.STATES),
    "without a gradient": _Map(
        "zero-gradient",
        "Units that get no gradient",
        cells.units(lambda site: site.zero_gradient, "without a gradient"),
        cells.STATES,
    ),
    "never positive": _Map(
        "never-positive",
        "Units that are never positive",
        cells.units(lambda site: site.never_positive, "never positive"),
        cells.HARMLESS,
    ),
    "always positive": _Map(
        "always-positive",
        "Units that are always positive",
        cells.units(lambda site: site.always_positive, "always positive"),
        cells.STATES,
    ),
}
_SLOPES = (
    _Map("slopes", "Slope: median of each layer", cells.median_slopes, cells.SLOPES),
    _Map(
        "distance",
        "Largest distance of a slope from its start",
        cells.slope_field("from_start", "distance from start"),
        cells.DISTANCES,
    ),
    _Map(
        "signal",
        "Signal-to-noise ratio of the slopes’ gradient",
        cells.slope_field("signal_to_noise", "signal-to-noise ratio"),
        cells.SIGNALS,
    ),
    _Map(
        "slope-updates",
        "Update ratio of the slopes, over that of the weights",
        cells.slope_field("against_weights", "update ratio over the weights’"),
        cells.RATIOS,
    ),
)
_GRADIENTS = _Map(
    "gradients",
    "Gradient norm of each layer’s weights, over the largest of the step",
    cells.gradients,
    cells.GRADIENTS,
)
_PASS_THROUGH = _Map("pass-through", "Share of the gradient that each site passes", cells.pass_through, cells.PASSES)
_UPDATES = _Map("updates", "Update of each layer’s weights, over their norm", cells.updates, cells.UPDATES)


def watch_charts(recording: Recording) -> tuple[Section, ...]:
    """Return all charts of a recording, always in four sections: units, slopes, gradients, updates.

    A chart appears as soon as there is something to draw, and keeps its key while a run goes on. Of a long run, evenly
    spaced steps are drawn, with the first, the latest, and the steps since which alarms hold.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> for section in watch_charts(synthetic_recording(layers=2)):
        ...     print(section.key, [chart.key for chart in section.charts])
        units ['dead', 'zero-gradient', 'never-positive']
        slopes ['slopes', 'distance', 'signal', 'slope-updates']
        gradients ['gradients', 'gradient-profile', 'pass-through']
        updates ['updates']
    """
    rows = max((max(len(sample.sites), len(sample.layers)) for sample in recording.samples), default=0)
    drawn = thinned(recording.samples, rows, (alarm.since for alarm in recording.alarms))

    def charts(*maps: _Map) -> tuple[Chart, ...]:
        return tuple(chart for each in maps if (chart := _chart(each, recording, drawn)) is not None)

    nowhere = [words for words, each in _UNITS.items() if _nowhere(each, drawn)]
    gradients, profile = charts(_GRADIENTS, _PASS_THROUGH), gradient_profile(recording)
    return (
        Section(
            "units",
            "Units",
            "One row for each call site, the input’s at the top; one column for each sampled step. Grey: none. The "
            "stronger the orange, the larger the share of the site’s units. Blue: never positive, which is harmless "
            "where a gradient still flows. Blank: not measured there. ▶ marks since when an alarm holds.",
            charts(*(each for words, each in _UNITS.items() if words not in nowhere)),
            (f"At none of the steps drawn is a unit {' or '.join(nowhere)}.",) if nowhere else (),
        ),
        Section(
            "slopes",
            "Slopes",
            "Grey: between 0 (faint: ReLU) and 1 (strong: linear). Blue: negative, the function falls and rises. "
            "Orange: above 1, negative inputs are amplified. Pink: not finite. ▶ marks since when an alarm holds.",
            charts(*_SLOPES),
        ),
        Section(
            "gradients",
            "Gradient flow",
            "The gradient comes from the output, at the bottom. Where a column turns blue and stays so up to the top, "
            "these layers learn little: their gradient is below a thousandth of the largest of that step.",
            (*gradients[:1], *([profile] if profile else ()), *gradients[1:]),
        ),
        Section(
            "updates",
            "Updates",
            "‖Δw‖ / ‖w‖ in one step, often near 0.001 in a net that trains well. Blue: hardly moves. Orange: moves by "
            "several percent in each step.",
            charts(_UPDATES),
        ),
    )


def _chart(each: _Map, recording: Recording, drawn: Sequence[Sample]) -> Chart | None:
    label = f"Heat map: {each.title}, by layer in the order of depth and by step."
    marks = [Mark(alarm.where, alarm.since, str(alarm)) for alarm in recording.alarms if each.key in alarm.charts]
    columns = {sample.step: each.cells(sample) for sample in drawn}
    return heat_map(each.key, each.title, label, columns, each.scale, marks)


def thinned(samples: Sequence[Sample], rows: int, keep: Iterable[int] = ()) -> Sequence[Sample]:
    """Return at most as many samples as a page can hold columns, evenly spaced, with the first and the last.

    Args:
        samples: All samples.
        rows: Number of rows of the chart.
        keep: Steps of samples that are returned in any case.
    """
    if len(samples) <= (most := max(40, min(120, 5000 // max(rows, 1)))):
        return samples
    always = set(keep)
    chosen = {*spaced(len(samples), most), *(index for index, sample in enumerate(samples) if sample.step in always)}
    return [samples[index] for index in sorted(chosen)]


def _nowhere(each: _Map, drawn: Sequence[Sample]) -> bool:
    values = [cell.value for sample in drawn for cell in each.cells(sample)]
    return not any(values) and any(value is not None for value in values)
