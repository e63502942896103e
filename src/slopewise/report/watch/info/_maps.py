"""Heat maps of a watched run as plain data: their cells, by the sampled step, and the alarms to mark on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slopewise.drawing import Cell, Mark, spaced
from slopewise.recording import Recording, Sample
from slopewise.report.watch.info import _cells as cells

UNITS = {  # by the key of the map; end of the sentence "At none of the steps drawn is a unit ..."
    "dead": "dead",
    "zero-gradient": "without a gradient",
    "never-positive": "never positive",
    "always-positive": "always positive",
}
_MAPS: dict[str, tuple[str, cells.Cells]] = {
    "dead": ("Dead units", cells.units(cells.dead, UNITS["dead"])),
    "zero-gradient": (
        "Units that get no gradient",
        cells.units(lambda site: site.zero_gradient, UNITS["zero-gradient"]),
    ),
    "never-positive": (
        "Units that are never positive",
        cells.units(lambda site: site.never_positive, UNITS["never-positive"]),
    ),
    "always-positive": (
        "Units that are always positive",
        cells.units(lambda site: site.always_positive, UNITS["always-positive"]),
    ),
    "slopes": ("Slope: median of each layer", cells.median_slopes),
    "distance": (
        "Largest distance of a slope from its start",
        cells.slope_field("from_start", "distance from start"),
    ),
    "signal": (
        "Signal-to-noise ratio of the slopes’ gradient",
        cells.slope_field("signal_to_noise", "signal-to-noise ratio"),
    ),
    "slope-updates": (
        "Ratio: update ratio of the slopes / that of the weights",
        cells.slope_field("against_weights", "update ratio over the weights’"),
    ),
    "gradients": ("Ratio: gradient norm of each layer’s weights / the largest of the step", cells.gradients),
    "pass-through": ("Pass-through, a ratio: ‖∂L/∂z‖ / ‖∂L/∂y‖ of each site", cells.pass_through),
    "updates": ("Update ratio: update norm / norm of each layer’s weights", cells.updates),
}


@dataclass(frozen=True, slots=True)
class MapInfo:
    """Contents of a heat map.

    Attributes:
        key: Id of the map on the page.
        title: Heading of the map.
        columns: Cells of each column, by the sampled step, in ascending order.
        marks: Alarms whose rules name the map's key, since when they hold.
    """

    key: str
    title: str
    columns: dict[int, tuple[Cell, ...]]
    marks: tuple[Mark, ...]

    @property
    def all_zero(self) -> bool:
        """True if something was measured and every measured value is 0."""
        values = [cell.value for column in self.columns.values() for cell in column]
        return not any(values) and any(value is not None for value in values)


def watch_maps(recording: Recording) -> dict[str, MapInfo]:
    """Return the contents of all heat maps of a recording, by key.

    Of a long run, evenly spaced steps are kept, with the first, the latest, and the steps since which alarms hold.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> maps = watch_maps(synthetic_recording(layers=2))
        >>> maps["dead"].columns[951][1].hover, maps["dead"].marks[0].step, maps["always-positive"].all_zero
        ('11 of 16 units dead', 401, True)
    """
    rows = max((max(len(sample.sites), len(sample.layers)) for sample in recording.samples), default=0)
    samples = thinned(recording.samples, rows, (alarm.since for alarm in recording.alarms))
    return {
        key: MapInfo(
            key,
            title,
            {sample.step: tuple(cells_of(sample)) for sample in samples},
            tuple(Mark(alarm.where, alarm.since, str(alarm)) for alarm in recording.alarms if key in alarm.charts),
        )
        for key, (title, cells_of) in _MAPS.items()
    }


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
