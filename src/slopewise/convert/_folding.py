"""What folding has to show: the model, what was done to it step by step, and what that changed."""

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
    """One layer that was folded.

    Attributes:
        kind: "unfuse" took a fused layer apart, "fold" put a normalisation into the layer before it, "settle" replaced
            a PReLU.
        name: of the layer.
        was: its class; of a PReLU the number of its slopes, too.
        became: what stands there now, or where it is now.
        change: of the model's outputs on the example by this step, for the output where it is relatively largest.
        removed: how many parameters fewer the model has.
    """

    kind: Kind
    name: str
    was: str
    became: str
    change: Difference
    removed: int


@dataclass(frozen=True)
class Folding:
    """A folded model and what is known of it; ``str()`` is a table.

    Attributes:
        model: the new model, in evaluation mode; the one that was given is unchanged.
        steps: what was done, in order.
        skipped: fused layers, normalisations and PReLUs that stay as they were, each with the reason.
        changes: of the outputs on the example by all steps of a kind together, measured from the model before the
            first to the model after the last of them.
        change: of the outputs, from the model given, in evaluation mode, to the new one.
        tolerance: how large `changes["settle"].relative` was allowed to be.
        removed: how many parameters the model has fewer than the one given.
        notes: what else is worth knowing.
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
        """The steps of a kind, in order."""
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
