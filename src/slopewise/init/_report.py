"""What an initialisation did, layer by layer, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slopewise.support import printed, table


@dataclass(frozen=True)
class Layer:
    """A layer that was initialised.

    Attributes:
        name: its path in the model.
        kind: its class.
        neighbours: what its input comes from, or with mode="fan_out" what its output goes to.
        fan: terms in the sum that an element of its output (of its input's gradient) is.
        gain: std·sqrt(fan), which is sqrt(2 / (1 + a²)) next to an activation with slope a; the lowest and the highest
            over its groups.
        std: of its weights; the lowest and the highest over its groups.
        notes: what else is worth knowing.
    """

    name: str
    kind: str
    neighbours: tuple[str, ...]
    fan: float
    gain: tuple[float, float]
    std: tuple[float, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Initialisation:
    """What `kaiming_` did; ``str()`` is a table.

    Attributes:
        layers: what was initialised, in the order of the forward pass.
        left: layers that were left as they were: name and reason.
        mode: "fan_in" or "fan_out".
        distribution: "normal" or "uniform".
        unknown: operations whose effect on the scale is unknown, and taken to give second moment 1.
    """

    layers: tuple[Layer, ...]
    left: tuple[tuple[str, str], ...]
    mode: str
    distribution: str
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        fed = "fed by" if self.mode == "fan_in" else "feeds"
        rows = [("layer", "kind", fed, "fan", "gain", "std")]
        rows += [
            (e.name, e.kind, _some(e.neighbours), f"{e.fan:g}", _range(e.gain, 4), _range(e.std, 4))
            for e in self.layers
        ]
        lines = [f"{len(self.layers)} layers initialised, {self.distribution}, {self.mode}", "", *table(rows)]
        sections = {
            "notes": [f"  {e.name}: {note}" for e in self.layers for note in e.notes],
            "taken to give second moment 1": [f"  {words}" for words in self.unknown],
            "left as they were": [f"  {name}: {reason}" for name, reason in self.left],
        }
        for title, section in sections.items():
            lines += ["", f"{title}:", *section] if section else []
        return printed(lines)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 3 else ""
    return ", ".join(names[: 2 if more else 3]) + more


def _range(ends: tuple[float, float], digits: int) -> str:
    low, high = (f"{end:.{digits}g}" for end in ends)
    return low if low == high else f"{low} to {high}"
