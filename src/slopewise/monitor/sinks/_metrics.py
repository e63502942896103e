"""Metrics of a sample for trackers, with their names: one definition for all trackers.

    slopewise/dead_max                   the largest over all layers
    slopewise_layers/dead/block1.relu    of one layer

The first kind and the picture of slopes are a dozen for a whole run, which is a page of TensorBoard. Names are made of
letters, digits and _ - . / alone, which TensorBoard, MLflow and Weights & Biases all take.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from slopewise.recording import Alarm, Sample, SiteSample

RUN, LAYERS = "slopewise", "slopewise_layers"

Values = Iterable[tuple[str, float | None]]


@dataclass(frozen=True, slots=True)
class Quantity:
    """Quantity that is measured of every layer or call site.

    Attributes:
        name: Part of the names of its metrics.
        title: Title of its chart.
        values: Function that returns layers and their values, in the order of the sample.
        ends: Extremes over all layers that are metrics of the run.
    """

    name: str
    title: str
    values: Callable[[Sample], Values]
    ends: tuple[Literal["min", "max"], ...] = ()


def _of(kind: Literal["sites", "slopes", "layers"], attribute: str) -> Callable[[Sample], Values]:
    name = attrgetter("site" if kind == "sites" else "layer")
    value = attrgetter(attribute)
    return lambda sample: ((name(each), value(each)) for each in getattr(sample, kind))


def _share(units: Callable[[SiteSample], Sequence[int] | None]) -> Callable[[Sample], Values]:
    def values(sample: Sample) -> Values:
        for site in sample.sites:
            members = units(site)
            yield site.site, None if members is None or not site.units else len(members) / site.units

    return values


QUANTITIES = (
    Quantity("positive", "positive pre-activations, share", _of("sites", "positive"), ("min",)),
    Quantity("dead", "dead units, share", _share(lambda x: None if x.zero_gradient is None else x.dead), ("max",)),
    Quantity("never_positive", "never positive units, share", _share(lambda x: x.never_positive)),
    Quantity("always_positive", "always positive units, share", _share(lambda x: x.always_positive), ("max",)),
    Quantity("zero_gradient", "units that no gradient reaches, share", _share(lambda x: x.zero_gradient), ("max",)),
    Quantity("pass_through", "gradient that passes, norm over norm", _of("sites", "pass_through"), ("min",)),
    Quantity("slope", "slope, median", _of("slopes", "summary.median")),
    Quantity("slope_update", "slope, largest move in the step", _of("slopes", "update"), ("max",)),
    Quantity("slope_from_start", "slope, largest distance from its start", _of("slopes", "from_start")),
    Quantity("slope_gradient", "slope, gradient norm", _of("slopes", "gradient")),
    Quantity("slope_signal_to_noise", "slope, signal to noise of its gradient", _of("slopes", "signal_to_noise")),
    Quantity("slope_against_weights", "slope, update ratio over the weights'", _of("slopes", "against_weights")),
    Quantity("gradient", "weight, gradient norm", _of("layers", "gradient"), ("min", "max")),
    Quantity("update_ratio", "weight, update over weight", _of("layers", "update_ratio"), ("max",)),
)
ALARM_COLUMNS = ("step", "alarm", "where", "since", "evidence", "advice")


def alarm_row(alarm: Alarm) -> tuple[int, str, str, int, str, str]:
    """Return the row of an alarm under `ALARM_COLUMNS`."""
    return alarm.step, alarm.id, alarm.where, alarm.since, alarm.evidence, alarm.advice


def alarm_table(alarms: Iterable[Alarm]) -> str:
    r"""Return alarms as a table in Markdown.

    Example:
        >>> alarms = [Alarm("linear-site", "a|b", 9, 3, "all 16 units are always positive")]
        >>> print(alarm_table(alarms).splitlines()[-1][:30])
        | 9 | linear-site | a\|b | 3 |
    """
    rows = [ALARM_COLUMNS, ["---"] * len(ALARM_COLUMNS), *map(alarm_row, alarms)]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def run_metrics(sample: Sample) -> dict[str, float]:
    """Return a few numbers of a sample: the extremes over all layers, and those of all slopes.

    If one layer has NaN, so has the extreme.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> metrics = run_metrics(synthetic_recording().samples[-1])
        >>> len(metrics), metrics["slopewise/dead_max"], round(metrics["slopewise/slope_max"], 2)
        (11, 0.6875, 1.85)
    """
    metrics = {
        f"{RUN}/{quantity.name}_{end}": value
        for quantity in QUANTITIES
        for end in quantity.ends
        if (value := _end(end, (value for _, value in quantity.values(sample)))) is not None
    }
    slopes = [layer.summary for layer in sample.slopes]
    for name, value in (
        ("slope_min", _end("min", (each.minimum for each in slopes))),
        ("slope_max", _end("max", (each.maximum for each in slopes))),
    ):
        if value is not None:
            metrics[f"{RUN}/{name}"] = value
    return metrics


def layer_metrics(sample: Sample) -> dict[str, float]:
    """Return every quantity of every layer that has it.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> metrics = layer_metrics(synthetic_recording().samples[0])
        >>> metrics["slopewise_layers/slope/block0.act"], metrics["slopewise_layers/dead/block1.act"]
        (0.25, 0.0)
    """
    return {
        f"{LAYERS}/{quantity.name}/{layer_key(layer)}": value
        for quantity in QUANTITIES
        for layer, value in quantity.values(sample)
        if value is not None
    }


def layer_key(layer: str) -> str:
    """Return a layer or call site as part of a metric's name.

    Example:
        >>> layer_key("block.relu()"), layer_key("block.relu (2)"), layer_key("")
        ('block.relu-call', 'block.relu-2', 'model')
    """
    words = re.sub(r" \((\d+)\)", r"-\1", layer.replace("()", "-call"))
    return re.sub(r"[^\w.-]", "_", words, flags=re.ASCII) or "model"


def charts(sample: Sample) -> dict[str, str]:
    """Return the charts with a line per layer that such samples fill: titles, and how their metrics' names begin."""
    return {quantity.title: f"{LAYERS}/{quantity.name}/" for quantity in QUANTITIES if list(quantity.values(sample))}


def _end(end: Literal["min", "max"], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if any(map(math.isnan, known)):
        return math.nan
    return (min if end == "min" else max)(known, default=None)
