"""Inspection of the slopes in a state dict, as `slopewise inspect` shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from slopewise.errors import SlopewiseError
from slopewise.recording import SlopeSummary, Thresholds
from slopewise.slopes._find import FoundLayer, find_slopes
from slopewise.slopes._judge import Alarm, alarms, summarise

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 4  # number of a layer's names that a remark lists


@dataclass(frozen=True, slots=True)
class InspectedLayer:
    """A layer with slopes, their summary, and the alarms that they raise.

    Attributes:
        found: The layer, with the evidence that its entry holds slopes.
        summary: Summary of the slopes.
        alarms: Alarms of the layer; none if it is unclear. A parametrised layer can only have "not finite": the other
            alarms concern the slopes in use, which the file does not hold.
        remark: Remark for the reader; empty for most layers.
    """

    found: FoundLayer
    summary: SlopeSummary
    alarms: tuple[Alarm, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Layers with slopes, in the file's order, and the entries not taken for slopes, each with the reason."""

    layers: tuple[InspectedLayer, ...]
    rejected: Mapping[str, str]

    @property
    def alarming(self) -> tuple[InspectedLayer, ...]:
        """Layers with an alarm."""
        return tuple(layer for layer in self.layers if layer.alarms)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for any strict JSON parser: NaN and infinities are null."""
        return {
            "layers": [_layer_json(layer) for layer in self.layers],
            "alarms": sum(len(layer.alarms) for layer in self.layers),
            "not_taken": [{"entry": entry, "reason": reason} for entry, reason in self.rejected.items()],
        }


def inspect_slopes(
    state_dict: Mapping[str, Tensor],
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    init: float | None = None,
    ties: bool = True,
    thresholds: Thresholds | None = None,
) -> Inspection:
    """Find the slopes in a state dict, and summarise and judge them layer by layer.

    A layer with several names (one tensor in one memory) counts once.

    Args:
        state_dict: Tensors by name, from `slopewise.checkpoint.load_state_dict` or a model.
        only: Patterns of layers to keep, see `find_slopes`.
        skip: Patterns of layers to leave out.
        also: Patterns of layers to take despite any evidence against them.
        init: Initial slope, see `summarise`.
        ties: If False, shared memory does not identify tied layers, as after reading a safetensors file. Layers with
            equal slopes then get a remark.
        thresholds: Thresholds of the alarms, as a monitor takes them.

    Raises:
        SlopewiseError: No slopes are found, or a pattern of `also` matches nothing.

    Example:
        >>> import slopewise as sw
        >>> (layer,) = inspect_slopes(sw.ConvBNPReLU(3, 8).state_dict()).layers
        >>> layer.found.layer, layer.summary.count, [str(alarm) for alarm in layer.alarms]
        ('bn', 8, ['stuck at 0.25'])
    """
    search = find_slopes(state_dict, only=only, skip=skip, also=also)
    if not search.layers:
        raise SlopewiseError(_nothing(state_dict))
    twins = {} if ties else _twins(search.layers)
    inspected = [_inspected(layer, init, thresholds or Thresholds()) for layer in search.layers]
    return Inspection(tuple(_with_names(layer, twins.get(layer.found.layer)) for layer in inspected), search.rejected)


def _twins(layers: Sequence[FoundLayer]) -> dict[str, str]:
    """Map each layer whose slopes equal those of an earlier one to the earlier one's name."""
    first: dict[tuple[object, ...], str] = {}
    names = {
        layer.layer: first.setdefault((layer.slopes.shape, *layer.slopes.flatten().tolist()), layer.layer)
        for layer in layers
    }
    return {name: twin for name, twin in names.items() if name != twin}


def _with_names(inspected: InspectedLayer, twin: str | None) -> InspectedLayer:
    aliases = inspected.found.aliases
    remarks = (
        inspected.remark,
        f"also known as {_some(aliases)}" if aliases else "",
        f"equal to {twin}: perhaps one layer, which this format does not say" if twin is not None else "",
    )
    return replace(inspected, remark="; ".join(filter(None, remarks)))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _inspected(layer: FoundLayer, init: float | None, thresholds: Thresholds) -> InspectedLayer:
    summary = summarise(layer.slopes, init=init, near_0=thresholds.near_0, near_1=thresholds.near_1)
    raised = alarms(summary, thresholds)
    if layer.certainty == "unclear":
        return InspectedLayer(layer, summary, (), "not judged: may be no slopes")
    if layer.raw:
        not_finite = tuple(alarm for alarm in raised if alarm.kind == "not finite")
        return InspectedLayer(layer, summary, not_finite, "parametrised: not the slopes in use")
    if summary.rounded and summary.same is not None:
        dtype = str(layer.slopes.dtype).removeprefix("torch.")
        return InspectedLayer(layer, summary, raised, f"all {summary.same:g} as {dtype} rounds them")
    return InspectedLayer(layer, summary, raised)


def _nothing(state_dict: Mapping[str, Tensor]) -> str:
    search = find_slopes(state_dict)
    if search.layers:
        names = [layer.layer for layer in search.layers]
        return f"the patterns leave out all {len(names)} layers with slopes: '{names[0]}' to '{names[-1]}'"
    message = (
        f"no slopes among the {len(state_dict)} tensors: looked for `slope` (slopewise's fused layers) and for a "
        f"one-dimensional `weight` that is all its layer saves (PReLU)"
    )
    if not search.rejected:
        return message
    first = next(iter(search.rejected))
    return (
        f"{message}; {len(search.rejected)} of these, as '{first}', are in layers named otherwise: --also takes them "
        f"all the same"
    )


def _layer_json(layer: InspectedLayer) -> dict[str, Any]:
    source, summary = layer.found, asdict(layer.summary)
    values = source.slopes.detach().double().flatten().tolist()
    return {
        "layer": source.layer,
        "aliases": list(source.aliases),
        "entry": source.entry,
        "shape": list(source.slopes.shape),
        "dtype": str(source.slopes.dtype).removeprefix("torch."),
        "certainty": source.certainty,
        "evidence": source.evidence,
        "parametrised": source.raw,
        "remark": layer.remark,
        "alarms": [{"kind": a.kind, "slopes": a.slopes, "value": a.value} for a in layer.alarms],
        **{name: _strict(value) for name, value in summary.items()},
        "values": [_strict(value) for value in values],
    }


def _strict(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
