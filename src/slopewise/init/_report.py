"""Report of an initialisation, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slopewise.support import printed, table


@dataclass(frozen=True)
class Layer:
    """A layer that was initialised.

    Attributes:
        name: Path in the model.
        kind: Name of the class.
        neighbours: Sources of its input or, with mode="fan_out", users of its output.
        fan: Number of terms in the sum that makes one element of its output or, with mode="fan_out", of its input's
            gradient.
        gain: Lowest and highest std·sqrt(fan) over its groups, which is sqrt(2 / (1 + a²)) next to an activation with
            slope a.
        std: Lowest and highest standard deviation of its weights over its groups.
        notes: Notes for the reader.
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
    """Result of `kaiming`; ``str()`` is a table.

    Attributes:
        layers: Layers that were initialised, in the order of the forward pass.
        left: Name of each layer that was not changed, with the reason.
        mode: Mode that was used, "fan_in" or "fan_out".
        distribution: Distribution of the weights, "normal" or "uniform".
        unknown: Operations without a rule, whose output is taken to have second moment 1.
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
