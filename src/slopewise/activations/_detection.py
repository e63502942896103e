"""Activations that a watched pass applies: as modules, as functions, and written out in several operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.activations._identify import of_function
from slopewise.activations._kinds import (
    NAMED,
    Kind,
    kind_of,
    kind_of_function,
    other_kind_of,
    other_kind_of_function,
)
from slopewise.activations._pointwise import GENERAL, changes_input, plain_name
from slopewise.activations._written import MOST, Written, curve, region_of, written, written_out
from slopewise.trace import ModuleCall, OpCall, Value


@dataclass(frozen=True)
class Activation:
    """Activation in a forward pass.

    Attributes:
        kind: Kind of the activation.
        module: Module that computes it; for functions and written-out forms a new one that computes the same.
        input: Value that it was applied to.
        output: Value that it returned.
        inplace: True if it writes its output over its input.
        ops: Operations that it consists of, if it is not a module.
        fixed: Reason why it cannot be converted; empty if it can.
        same: Module of PyTorch that computes the same, where `module` is of a foreign class.
    """

    kind: Kind
    module: nn.Module
    input: Value
    output: Value
    inplace: bool
    ops: tuple[OpCall, ...] = ()
    fixed: str = ""
    same: nn.Module | None = None

    @property
    def slope(self) -> float | Tensor | None:
        """Negative slope, or slopes, with which a PReLU computes the same; None if there is none."""
        if isinstance(self.module, nn.PReLU):
            return self.module.weight.detach().flatten()
        return None if self.kind.slope is None else self.kind.slope(self.same or self.module)

    @property
    def general(self) -> bool:
        """True if it consists only of operations with many other uses, such as clamp and where."""
        return bool(self.ops) and all(op.function is not None and plain_name(op) in GENERAL for op in self.ops)


def activations_in(call: ModuleCall) -> Iterator[tuple[OpCall | ModuleCall, Activation]]:
    """Return every activation that a call applies, with the step that returns its output."""
    activation = activation_of(call)
    if activation is not None:
        yield call, activation
        return
    own = [step for step in call.steps if isinstance(step, OpCall)]
    whole = {w.ops[-1]: w for w in written_out(own, lambda op: _of_function(op) is not None)}
    parts = {op for w in whole.values() for op in w.ops}
    activations: list[tuple[OpCall | ModuleCall, Activation]] = []
    for step in call.steps:
        if isinstance(step, ModuleCall):
            activations += activations_in(step)
        elif step in whole:
            activations.append((step, _of_written(whole[step])))
        elif step not in parts and (activation := activation_of(step)) is not None:
            activations.append((step, activation))
    unknown = None if activations else _unknown(call)
    yield from activations if unknown is None else [(call, unknown)]


def activation_of(step: OpCall | ModuleCall) -> Activation | None:
    """Return the activation that an operation or a module's call is; None for anything else.

    A module of any other class is one, too, if it does nothing but compute one.
    """
    if isinstance(step, OpCall):
        return _of_function(step)
    return _of_module(step) if step.op is None and kind_of(step.module) is None else _of_whole(step)


def _of_whole(call: ModuleCall) -> Activation | None:
    """Return the activation that a layer of PyTorch's or ours, or a script, is."""
    outputs, module = call.outputs if call.op is None else call.op.outputs, call.module
    if not call.inputs or len(outputs) != 1:
        return None
    kind, same = kind_of(module), None
    if kind is None:
        kind, same = _tried(call, outputs[0])
    inplace = getattr(module, "inplace", False) is True
    return None if kind is None else Activation(kind, module, call.inputs[0], outputs[0], inplace, same=same)


def _tried(call: ModuleCall, output: Value) -> tuple[Kind | None, nn.Module | None]:
    """Return the kind of a module with settings, or of a script, by what it computes, and an equal module."""
    module, known_kind = call.module, other_kind_of(call.module)
    if not (known_kind or isinstance(module, torch.jit.ScriptModule)) or _has_state(module):
        return known_kind, None
    if call.inputs[0].shape != output.shape or known_kind is NAMED["glu"]:
        return known_kind, None
    try:
        match = of_function(lambda x: module(x) if known_kind is None else type(module).forward(module, x))
    except Exception:  # a script can raise anything on other shapes than it is made for
        match = None
    return (known_kind, None) if match is None else match


def _of_module(call: ModuleCall) -> Activation | None:
    """Return the activation that a module of another class is, by the operations in it."""
    ops = _ops_of(call)
    if not any(isinstance(step, OpCall) for step in call.steps) or not call.inputs or len(call.outputs) != 1:
        return None
    source, result, module = call.inputs[0], call.outputs[0], call.module
    activation = _of_function(ops[0]) if len(ops) == 1 else None
    if activation is not None:
        learned = (
            activation.kind.name == "prelu" and isinstance(module, nn.PReLU) and _takes_only(ops[0], module.weight)
        )
        whole = (
            (activation.input, activation.output) == (source, result)
            and not activation.fixed
            and not _has_state(module)
        )
        if not whole and not (learned and (activation.input, activation.output) == (source, result)):
            return None
        return Activation(activation.kind, module, source, result, activation.inplace, same=activation.module)
    region = _whole_region(call, ops)
    out = written(region, source) if region and not _has_state(module) else None
    if out is None:
        return None
    return Activation(out.kind, module, source, result, out.inplace, out.ops, same=out.module)


def _takes_only(op: OpCall, weight: Tensor) -> bool:
    """Return True if an operation takes a parameter as it is, besides its input."""
    return len(op.inputs) == 2 and op.inputs[1].constant is weight


def _whole_region(call: ModuleCall, ops: list[OpCall]) -> tuple[OpCall, ...]:
    """Return a call's operations, if they compute its output from one input element by element, and do nothing else."""
    if not 0 < len(ops) <= MOST or {value for value in call.inputs if value.data} != {call.inputs[0]}:
        return ()
    region = region_of(ops[-1], call.inputs[0], {*ops}) if ops[-1].outputs == call.outputs else ()
    outside = [op for op in ops if op not in region and any(value.data for value in op.outputs)]
    return () if outside else region


def _unknown(call: ModuleCall) -> Activation | None:
    """Return the curve that a foreign module computes element by element, unless it is a straight line."""
    ops = [] if call.op is not None or not call.inputs or len(call.outputs) != 1 else _ops_of(call)
    region = _whole_region(call, ops) if ops else ()
    if not region or curve(region, call.inputs[0]) is None:
        return None
    kind = Kind(type(call.module).__name__.lower(), type(call.module), left="its function is none of the known ones")
    return Activation(kind, call.module, call.inputs[0], call.outputs[0], inplace=False, ops=region)


def _of_written(form: Written) -> Activation:
    owner = type(form.ops[-1].call.module).__name__
    fixed = f"{owner} computes it with tensors of its own, which a torch.nn.PReLU could hold" if form.own else ""
    return Activation(form.kind, form.module, form.input, form.output, form.inplace, form.ops, fixed)


def _ops_of(call: ModuleCall) -> list[OpCall]:
    ops: list[OpCall] = []
    for step in call.steps:
        if isinstance(step, OpCall):
            ops.append(step)
        else:
            ops += [step.op] if step.op is not None else _ops_of(step)
        if len(ops) > MOST:
            break
    return ops


def _has_state(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _of_function(op: OpCall) -> Activation | None:
    kind, unconverted = kind_of_function(op.function), other_kind_of_function(op.function)
    known = kind or unconverted
    if known is None or not op.inputs or len(op.outputs) != 1:
        return None
    if known.name == "prelu":
        fixed = f"its slopes are not those of a torch.nn.PReLU, but what {type(op.call.module).__name__} hands to it"
        return Activation(known, nn.PReLU(), op.inputs[0], op.outputs[0], inplace=False, ops=(op,), fixed=fixed)
    inplace = changes_input(op) or _flag(op, known)
    settings = _settings(op, known) | ({"inplace": True} if inplace and kind is not None else {})
    module = known.module(**settings)
    if unconverted is not None and unconverted.name != "glu":
        known, module = of_function(module, inplace=inplace) or (unconverted, module)
    return Activation(known, module, op.inputs[0], op.outputs[0], inplace, (op,))


def _settings(op: OpCall, kind: Kind) -> dict[str, Any]:
    settings: dict[str, Any] = dict(zip(kind.settings, op.args[1:], strict=False))
    settings.update({key: value for key, value in op.kwargs.items() if key in kind.settings})
    return settings


def _flag(op: OpCall, kind: Kind) -> bool:
    place = 1 + len(kind.settings) + (kind.name == "rrelu")  # rrelu's training stands before its inplace
    flag = op.args[place] if len(op.args) > place else False
    return flag is True
