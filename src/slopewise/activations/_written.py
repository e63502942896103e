"""Activations that are written out: several operations that compute one from a single value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slopewise.activations._identify import identify, is_linear
from slopewise.activations._kinds import Kind
from slopewise.activations._pointwise import (
    NotPointwiseError,
    changes_input,
    has_own_numbers,
    is_pointwise,
    plain_name,
    replay,
    words,
)
from slopewise.trace import OpCall, Value

MOST = 24  # operations in one
_CANNOT = (NotPointwiseError, RuntimeError, TypeError, ValueError)  # other shapes than an operation was recorded with
_LINEAR = words("add sub rsub __rsub__ mul multiply div divide neg")


@dataclass(frozen=True)
class Written:
    """Activation that operations write out.

    Attributes:
        kind: Kind of the activation.
        module: New module that computes the same.
        input: Only value that the operations take from elsewhere, constants apart.
        output: Result of the last operation.
        ops: Operations, in order.
        inplace: True if they write their result over their input.
        own: True if they take parameters, or constants for each channel.
    """

    kind: Kind
    module: nn.Module
    input: Value
    output: Value
    ops: tuple[OpCall, ...]
    inplace: bool
    own: bool


def written_out(ops: Sequence[OpCall], is_activation: Callable[[OpCall], bool]) -> Iterator[Written]:
    """Return the activations that are written out among the operations of one call, last ones first.

    Args:
        ops: Operations of the call, in order.
        is_activation: Predicate that tells whether an operation is an activation by itself.
    """
    usable = {op for op in ops if is_pointwise(op)}
    for op in reversed(ops):
        if op not in usable or not op.outputs[0].data or is_activation(op):
            continue
        regions = ((source, region_of(op, source, usable)) for source in _sources(op, usable))
        form = next((w for source, region in regions if region and (w := written(region, source)) is not None), None)
        if form is not None:
            usable -= {*form.ops}
            yield form


def region_of(last: OpCall, source: Value, usable: set[OpCall]) -> tuple[OpCall, ...]:
    """Return the operations between `source` and an operation's result; none if they need more than constants."""
    needed: set[OpCall] = set()
    ahead = [last]
    while ahead:
        op = ahead.pop()
        if op in needed:
            continue
        if op not in usable or len(needed) == MOST or not is_pointwise(op):
            return ()
        needed.add(op)
        producers = [value.producer for value in op.inputs if value is not source and value.data]
        if None in producers:
            return ()
        ahead += [producer for producer in producers if producer is not None]
    return tuple(sorted(needed, key=lambda op: op.number))


def curve(ops: Sequence[OpCall], source: Value) -> dict[Value, Tensor] | None:
    """Return the results of operations on `grid()`, by value; None for a straight line or what cannot be computed."""
    result = ops[-1].outputs[0]
    if result.shape != source.shape or not (result.dtype.is_floating_point and source.dtype.is_floating_point):
        return None
    if all(op.function is not None and plain_name(op) in _LINEAR for op in ops):
        return None
    try:
        numbers = replay(ops, source)
    except _CANNOT:
        return None
    return None if is_linear(numbers[result].nan_to_num()) else numbers


def written(ops: Sequence[OpCall], source: Value) -> Written | None:
    """Return the activation that operations compute from one value, if all are needed and nothing else uses them."""
    numbers, result = curve(ops, source), ops[-1].outputs[0]
    inplace = _in_place(ops, source)
    match = None if numbers is None or inplace is None else identify(numbers[result], inplace=inplace)
    if match is None or numbers is None or inplace is None:
        return None
    inside = {*ops}
    for op in ops[:-1]:
        settled = _same(numbers[op.outputs[0]], numbers[result])  # what follows changes nothing
        if settled or any(user not in inside for user in op.outputs[0].users):
            return None
    own = any(has_own_numbers(op) for op in ops)
    return Written(*match, source, result, tuple(ops), inplace, own)


def _in_place(ops: Sequence[OpCall], source: Value) -> bool | None:
    """Return True if the result lies in the memory of the input; None if something else overwrites the input."""
    memory = {source}
    for op in ops:
        if changes_input(op) and op.inputs[0] in memory:
            memory.add(op.outputs[0])
    if ops[-1].outputs[0] in memory:
        return True
    return False if len(memory) == 1 else None


def _sources(op: OpCall, usable: set[OpCall]) -> list[Value]:
    """Yield the values that an operation's result may be a function of, nearest first."""
    sources: dict[Value, None] = {}
    ahead = [op]
    while ahead and len(sources) < MOST:
        for value in ahead.pop(0).inputs:
            if value.data and value not in sources:
                sources[value] = None
                if value.producer in usable:
                    ahead.append(value.producer)
    return list(sources)


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first.double(), second.double())
