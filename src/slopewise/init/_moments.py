"""Propagation of moments through a whole forward pass, and of gradients' second moments back through it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from slopewise.init._expectation import fit, unit
from slopewise.init._reading import layer_of, rule_of
from slopewise.init._rules import Add, Concatenate, Curve, Keep, Rule, Scale, Slopes, Unit, Unknown
from slopewise.trace import ForwardTrace, ModuleCall, OpCall, Value

_CONSTANT = re.compile("new_|(zeros|ones|full|empty|rand|randn)_like")  # these read only a tensor's shape and dtype


@dataclass
class Use:
    """One call of a layer with weights.

    Attributes:
        square: Second moments of its input's channels.
        gradient: Second moments of the gradient with respect to its output's channels.
        before: Nearest sources of its input: activations, normalisations, layers, the model's input.
        after: Nearest users of its output: activations, normalisations, layers, the model's output.
        normalised: True if every user of its output normalises it.
    """

    square: Tensor
    gradient: Tensor
    before: tuple[str, ...]
    after: tuple[str, ...]
    normalised: bool


@dataclass
class Passes:
    """All calls of layers with weights in a forward pass, and the operations without a rule."""

    uses: dict[nn.Module, list[Use]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def passes(flow: ForwardTrace, names: Mapping[nn.Module, str]) -> Passes:
    """Propagate moments forward through a flow, and second moments of gradients back.

    Each layer with weights gives moments 0 and 1, as it does once it is initialised.

    Args:
        flow: Forward pass.
        names: Names of modules, for the labels of a layer's neighbours.
    """
    moments: dict[Value, Tensor] = {value: unit() for value in flow.root.inputs}
    before: dict[Value, tuple[str, ...]] = dict.fromkeys(flow.root.inputs, ("the input",))
    steps: list[tuple[OpCall, Rule]] = []
    for op in _in_order(flow.root):
        if _CONSTANT.match(op.name) or not any(value in moments for value in op.inputs):
            continue  # made only from parameters and constants
        rule = rule_of(op)
        if isinstance(rule, (Unit, Slopes, Curve)) and op.inputs[0] not in moments:
            rule = Unknown()  # a gate or mask of constants, a layer applied to a parameter
        steps.append((op, rule))
        result, label = rule.forward(op, moments), _label(op, rule, names)
        origin = label or _union(before.get(value, ()) for value in op.inputs)
        for value in op.outputs:
            moments[value], before[value] = result, origin

    gradients: dict[Value, Tensor] = defaultdict(lambda: torch.zeros(1, dtype=torch.float64))
    after: dict[Value, tuple[str, ...]] = defaultdict(tuple)
    for value in flow.output.inputs:
        gradients[value], after[value] = gradients[value] + 1, ("the output",)
    propagation = Passes()
    rules = dict(steps)
    for op, rule in reversed(steps):
        used = [value for value in op.outputs if value in gradients]
        if not used:  # the result is not used
            continue
        gradient = _mean([gradients[value] for value in used])
        layer = layer_of(op)
        if layer is not None:
            source, output = op.inputs[0], op.outputs[0]
            users = [user for user in output.users if user in rules or user is flow.output]
            normalised = bool(users) and all(_normalises(user, rules.get(user), output) for user in users)
            use = Use(moments[source][1], gradient, before[source], after[output], normalised)
            propagation.uses.setdefault(layer, []).insert(0, use)
        label = _label(op, rule, names) or _union(after[value] for value in used)
        for value, part in rule.backward(op, moments, gradient):
            count = max(len(part), len(gradients[value]))
            gradients[value] = fit(gradients[value], count) + fit(part, count)
            after[value] = _union([after[value], label])
    order = [layer_of(op) for op, _ in steps]
    propagation.uses = {
        layer: propagation.uses[layer] for layer in order if layer is not None and layer in propagation.uses
    }
    propagation.unknown = _union(_label(op, rule, names) for op, rule in steps if isinstance(rule, Unknown))
    return propagation


def _in_order(call: ModuleCall) -> Iterator[OpCall]:
    """Yield every operation, in the order of execution."""
    if call.op is not None:
        yield call.op
    for step in call.steps:
        if isinstance(step, OpCall):
            yield step
        else:
            yield from _in_order(step)


def _label(op: OpCall, rule: Rule, names: Mapping[nn.Module, str]) -> tuple[str, ...]:
    """Return a label for an operation that sets the moments anew; none for one that passes them on."""
    if isinstance(rule, (Add, Concatenate, Keep, Scale)):
        return ()
    name = names.get(op.call.module) or "the model"
    if op.function is None or layer_of(op) is not None:
        return (f"{name} ({type(op.call.module).__name__})",)
    return (f"{op.name}() in {name}",)


def _normalises(user: OpCall, rule: Rule | None, value: Value) -> bool:
    if isinstance(rule, Slopes):
        return rule.fused and user.inputs[0] is value and value not in user.inputs[1:]
    return isinstance(rule, Unit) and rule.norm


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _mean(tensors: list[Tensor]) -> Tensor:
    if len(tensors) == 1:
        return tensors[0]
    return torch.stack([tensor.mean() for tensor in tensors]).mean().reshape(1)
