"""Result of folding: the model, the steps, and the measured changes of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from slopewise.convert._proof import Difference
from slopewise.convert._refusal import Refusal
from slopewise.support import grouped, printed, section, table

Kind = Literal["unfuse", "fold", "settle"]
_DOES: Mapping[Kind, str] = {
    "unfuse": "unfusing",
    "fold": "folding normalisation",
    "settle": "settling slopes",
}


@dataclass(frozen=True)
class FoldStep:
    """A layer that was folded.

    Attributes:
        kind: "unfuse" for a fused layer that was split, "fold" for a normalisation that was folded into the layer
            before it, "settle" for a PReLU that was replaced.
        name: Name of the layer.
        was: Class of the layer; for a PReLU, with the number of its slopes.
        became: Module that took its place, or the layer that it is a part of now.
        change: Change of the model's outputs on the example by this step, for the output with the largest relative one.
        removed: Number of parameters by which the model shrank.
    """

    kind: Kind
    name: str
    was: str
    became: str
    change: Difference
    removed: int


@dataclass(frozen=True)
class Folding:
    """A folded model, with the steps and the measured changes; ``str()`` is a table.

    Attributes:
        model: Folded model, in evaluation mode; the one that was given is unchanged.
        steps: Steps, in order.
        skipped: Fused layers, normalisations and PReLUs that stay as they were, each with the reason.
        changes: Change of the outputs on the example by all steps of a kind together, from the model before the first
            of them to the model after the last.
        change: Change of the outputs on the example, from the model given, in evaluation mode, to the folded one.
        tolerance: Largest `changes["settle"].relative` that was allowed.
        removed: Number of parameters by which the model shrank.
        notes: Further notes.
    """

    model: nn.Module
    steps: tuple[FoldStep, ...]
    skipped: tuple[Refusal, ...]
    changes: Mapping[Kind, Difference]
    change: Difference
    tolerance: float
    removed: int
    notes: tuple[str, ...] = ()

    def of(self, kind: Kind) -> tuple[FoldStep, ...]:
        """Return the steps of a kind, in order."""
        return tuple(step for step in self.steps if step.kind == kind)

    def __str__(self) -> str:
        counts = (
            f"{len(self.of('unfuse'))} fused layers taken apart, {len(self.of('fold'))} normalisations folded, "
            f"{len(self.of('settle'))} PReLUs settled; {-self.removed:+,} parameters"
        )
        lines = [counts if self.steps else "nothing to fold"]
        if self.steps:
            rows = [("step", "layer", "was", "became", "parameters", "outputs changed by")]
            rows += [
                (s.kind, s.name or "(the model)", s.was, s.became, f"{-s.removed:+,}", str(s.change))
                for s in self.steps
            ]
            lines += ["", *table(rows)]
        lines += section("left as they are", grouped({f"{r.name} ({r.kind})": r.reason for r in self.skipped}))
        lines += section("notes", [f"  {note}" for note in self.notes])
        if not self.steps:
            return printed(lines)
        changed = [f"  {_DOES[kind]}: {by}" for kind, by in self.changes.items() if self.of(kind)]
        if self.of("settle"):
            changed[-1] += f"; {self.tolerance:g} of it is allowed"
        return printed([*lines, *section("outputs changed on the example by", [*changed, f"  all: {self.change}"])])
