"""Places in a pass: the n-th call of a function or a module, which can be found again in another pass of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slopewise.activations import Activation
from slopewise.trace import ForwardTrace, ModuleCall, OpCall

WITH_GRADIENTS = ", with gradients"  # suffix of a mode's name, for a pass whose steps differ with gradients enabled


@dataclass(frozen=True)
class Place:
    """A place in a pass at which an activation is applied.

    Attributes:
        number: Number of the call among all calls of functions, or of modules, in the order in which they begin.
        function: Function that is called; None for a module.
        inplace: True if the activation writes its output over its input.
        argument: Number of the activation's input among the tensors that the function is given.
    """

    number: int
    function: Callable[..., Any] | None
    inplace: bool
    argument: int = 0


def places_in(flow: ForwardTrace, activations: Sequence[tuple[OpCall | ModuleCall, Activation]]) -> list[Place | None]:
    """Return the places of activations in a pass; None for one that is written out, or applied by a script."""
    # A pass can show operators below functions, those of a script. Other passes do not count them, so numbers differ.
    # Their class is the only sign of them, and has no public name.
    if any(isinstance(op.function, torch._ops.OpOverload) for op in _functions(flow.root)):
        return [None] * len(activations)
    calls = {id(call): number for number, call in enumerate(flow.calls())}
    functions = {id(op): number for number, op in enumerate(_functions(flow.root))}
    listed: list[Place | None] = []
    for step, activation in activations:
        if isinstance(step, ModuleCall):
            listed.append(Place(calls[id(step)], None, activation.inplace))
        elif len(getattr(activation, "ops", ())) > 1:
            listed.append(None)
        else:
            argument = next((n for n, value in enumerate(step.inputs) if value is activation.input), 0)
            listed.append(Place(functions[id(step)], step.function, activation.inplace, argument))
    return listed


def same_steps(first: ForwardTrace, second: ForwardTrace) -> bool:
    """Return True if two passes call the same functions and modules, from the same lines and in the same order."""
    return [*_events(first.root)] == [*_events(second.root)]


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
