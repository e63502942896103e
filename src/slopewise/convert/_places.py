"""Places in a pass: the n-th call of a function or of a module, which are found again in another pass of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slopewise.activations import Activation
from slopewise.trace import ForwardTrace, ModuleCall, OpCall

WITH_GRADIENTS = ", with gradients"  # what the name of a mode has behind it for a pass that they change


@dataclass(frozen=True)
class Place:
    """Place in a pass at which an activation is applied.

    Attributes:
        number: Number of the function's or the module's call among those of its sort, in the order in which they begin.
        function: that is called; None for a module.
        inplace: the activation writes its output over its input.
        argument: Number of the activation's input among the tensors that the function is given.
    """

    number: int
    function: Callable[..., Any] | None
    inplace: bool
    argument: int = 0


def places_in(flow: ForwardTrace, found: Sequence[tuple[OpCall | ModuleCall, Activation]]) -> list[Place | None]:
    """The places of activations in a pass; None for one that several functions write out, or a script applies."""
    if any(isinstance(op.function, torch._ops.OpOverload) for op in _functions(flow.root)):
        return [None] * len(found)  # operations below functions were seen, which are counted in no other pass
    calls = {id(call): number for number, call in enumerate(flow.calls())}
    functions = {id(op): number for number, op in enumerate(_functions(flow.root))}
    listed: list[Place | None] = []
    for step, activation in found:
        if isinstance(step, ModuleCall):
            listed.append(Place(calls[id(step)], None, activation.inplace))
        elif len(getattr(activation, "ops", ())) > 1:
            listed.append(None)
        else:
            argument = next((n for n, value in enumerate(step.inputs) if value is activation.input), 0)
            listed.append(Place(functions[id(step)], step.function, activation.inplace, argument))
    return listed


def same_steps(one: ForwardTrace, other: ForwardTrace) -> bool:
    """Return whether two passes call the same functions and modules, from the same places and in the same order."""
    return [*_events(one.root)] == [*_events(other.root)]


def _functions(call: ModuleCall) -> Iterator[OpCall]:
    for step in call.steps:
        if isinstance(step, ModuleCall):
            yield from _functions(step)
        else:
            yield step


def _events(call: ModuleCall) -> Iterator[tuple[object, ...]]:
    yield call.module, call.where
    for step in call.steps:
        if isinstance(step, ModuleCall):
            yield from _events(step)
        else:
            yield step.name, step.where
