"""Facts that the view of a checkpoint's slopes shows, as plain data: no markup, no colours."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slopewise.drawing import Strip, count, listing, number, plain
from slopewise.recording import SlopeSummary
from slopewise.slopes import MEANINGS, AlarmKind, InspectedLayer, Inspection
from slopewise.support import printable

_NAMED = 6  # layers that a sentence names; further ones are counted


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Row of the table, as text.

    Attributes:
        layer: Name of the layer.
        slopes: Number of slopes.
        minimum, lower_quartile, median, upper_quartile, maximum: Distribution of the slopes.
        bands: Numbers of slopes below 0, near 0, near 1 and above 1; empty for none.
        alarms: Alarms of the layer; empty for none.
        remark: Remark; empty for none.
        certainty: Certainty that the entry holds slopes.
    """

    layer: str
    slopes: str
    minimum: str
    lower_quartile: str
    median: str
    upper_quartile: str
    maximum: str
    bands: tuple[str, ...]
    alarms: str
    remark: str
    certainty: str


@dataclass(frozen=True, slots=True)
class SlopesInfo:
    """Facts about the slopes of a checkpoint.

    Attributes:
        size: Number of slopes and layers, in words.
        verdict: Number of layers with alarms, in words.
        alarming: True if there are such layers.
        rows: Rows of the table.
        strips: Distribution of each layer's slopes.
        notes: Sentences about alarms, about the evidence, and about entries not taken for slopes.
    """

    size: str
    verdict: str
    alarming: bool
    rows: tuple[LayerRow, ...]
    strips: tuple[Strip, ...]
    notes: tuple[str, ...]


def slopes_info(inspection: Inspection) -> SlopesInfo:
    """Return the facts about the slopes of a checkpoint.

    Example:
        >>> import slopewise as sw
        >>> from slopewise.slopes import inspect_slopes
        >>> info = slopes_info(inspect_slopes(sw.ConvBNPReLU(3, 8).state_dict()))
        >>> info.size, info.verdict, info.rows[0].median
        ('8 slopes in 1 layer', 'alarms in 1 layer', '0.250')
    """
    layers, alarming = inspection.layers, len(inspection.alarming)
    return SlopesInfo(
        size=f"{count(sum(layer.summary.count for layer in layers), 'slope')} in {count(len(layers), 'layer')}",
        verdict=f"alarms in {count(alarming, 'layer')}" if alarming else "no alarms",
        alarming=alarming > 0,
        rows=tuple(map(_row, layers)),
        strips=tuple(map(_strip, layers)),
        notes=tuple(_notes(inspection)),
    )


def _row(layer: InspectedLayer) -> LayerRow:
    summary = layer.summary
    bands = (summary.negative, summary.near_0, summary.near_1, summary.above_1)
    return LayerRow(
        layer=_name(layer),
        slopes=str(summary.count),
        minimum=_figure(summary.minimum),
        lower_quartile=_figure(summary.lower_quartile),
        median=_figure(summary.median),
        upper_quartile=_figure(summary.upper_quartile),
        maximum=_figure(summary.maximum),
        bands=tuple(str(slopes) if slopes else "" for slopes in bands),
        alarms=", ".join(map(str, layer.alarms)),
        remark=layer.remark,
        certainty=layer.found.certainty,
    )


def _strip(layer: InspectedLayer) -> Strip:
    summary = layer.summary
    return Strip(_name(layer), _five(summary) if summary.finite else None, single=summary.finite == 1)


def _notes(inspection: Inspection) -> Iterator[str]:
    layers_by_kind: dict[AlarmKind, list[str]] = {kind: [] for kind in MEANINGS}
    for layer in inspection.alarming:
        for alarm in layer.alarms:
            total = layer.summary.count
            part = "" if alarm.slopes == total else f" ({alarm.slopes} of {total})"
            value = "" if alarm.value is None else f" at {alarm.value:g}"
            layers_by_kind[alarm.kind].append(f"{_name(layer)}{value}{part}")
    for kind, names in layers_by_kind.items():
        if names:
            yield f"{kind}: {_listed(names)}. {MEANINGS[kind][0].upper()}{MEANINGS[kind][1:]}."
    reasons = Counter((layer.found.certainty, layer.found.evidence) for layer in inspection.layers)
    for (certainty, evidence), layers in reasons.items():
        yield f"{count(layers, 'layer')} {certainty}: {evidence}."
    if rejected := list(inspection.rejected):
        yield f"Not taken for slopes, by their names (--also takes them): {_listed(rejected)}."


def _listed(names: Sequence[str]) -> str:
    return listing(names if len(names) <= _NAMED else [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more"])


def _five(summary: SlopeSummary) -> tuple[float, float, float, float, float]:
    return summary.minimum, summary.lower_quartile, summary.median, summary.upper_quartile, summary.maximum


def _figure(value: float) -> str:
    return plain(number(None if math.isnan(value) else value, 3))


def _name(layer: InspectedLayer) -> str:
    return printable(layer.found.layer or layer.found.entry)
