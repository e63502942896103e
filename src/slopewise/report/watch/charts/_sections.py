"""Charts of a watched run, in sections with texts that explain them, for the offline and the live page."""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.drawing import Chart, heat_map
from slopewise.recording import Recording
from slopewise.report.watch.charts._gradient_profile import gradient_profile
from slopewise.report.watch.charts._scales import SCALES
from slopewise.report.watch.info import UNITS, MapInfo, profile_info, watch_maps


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
    maps = watch_maps(recording)

    def charts(*keys: str) -> tuple[Chart, ...]:
        return tuple(chart for key in keys if (chart := _chart(maps[key])) is not None)

    absent = [key for key in UNITS if maps[key].all_zero]
    profile = gradient_profile(profile_info(recording))
    return (
        Section(
            "units",
            "Units",
            "One row for each call site, the input’s at the top; one column for each sampled step. Grey: none. The "
            "stronger the orange, the larger the share of the site’s units. Blue: never positive, which is harmless "
            "where a gradient still flows. Blank: not measured there. ▶ marks since when an alarm holds.",
            charts(*(key for key in UNITS if key not in absent)),
            (f"At none of the steps drawn is a unit {' or '.join(UNITS[key] for key in absent)}.",) if absent else (),
        ),
        Section(
            "slopes",
            "Slopes",
            "Grey: between 0 (faint: ReLU) and 1 (strong: linear). Blue: negative, the function falls and rises. "
            "Orange: above 1, negative inputs are amplified. Pink: not finite. ▶ marks since when an alarm holds.",
            charts("slopes", "distance", "signal", "slope-updates"),
        ),
        Section(
            "gradients",
            "Gradient flow",
            "The gradient comes from the output, at the bottom. Where a column turns blue and stays so up to the top, "
            "these layers learn little: their gradient is below a thousandth of the largest of that step.",
            (*charts("gradients"), *([profile] if profile else ()), *charts("pass-through")),
        ),
        Section(
            "updates",
            "Updates",
            "‖Δw‖ / ‖w‖ in one step, often near 0.001 in a net that trains well. Blue: hardly moves. Orange: moves by "
            "several percent in each step.",
            charts("updates"),
        ),
    )


def _chart(info: MapInfo) -> Chart | None:
    label = f"Heat map: {info.title}, by layer in the order of depth and by step."
    return heat_map(info.key, info.title, label, info.columns, SCALES[info.key], info.marks)
