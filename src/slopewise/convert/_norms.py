"""Modules of any class that normalise: by fixed numbers, or with the reason why not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from slopewise.convert._fixed import SCALES, Fixed, at, fixed
from slopewise.convert._refusal import Refusal, StaysError
from slopewise.trace import ForwardTrace, ModuleCall, OpCall, Value

_STOCK = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d)
_FUNCTIONS = {"batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "local_response_norm"}
_STATISTICS = {"mean", "var", "std", "var_mean", "std_mean", "norm", "vector_norm", "sum"}


def norms(model: nn.Module, flow: ForwardTrace, varying: set[Value]) -> Iterator[tuple[Fixed, ...] | Refusal]:
    """Yield, for each module that normalises, its calls if all are s·x + t with fixed numbers, else a refusal.

    Args:
        model: Model in evaluation mode.
        flow: Pass through the model.
        varying: `values_of_inputs` of that pass.
    """
    calls: defaultdict[nn.Module, list[ModuleCall]] = defaultdict(list)
    for call in flow.calls():
        calls[call.module].append(call)
    for name, module in model.named_modules():
        kind = type(module).__name__
        try:
            if isinstance(module, _STOCK):
                yield _of_stock(module, calls[module], varying)
            elif not calls[module]:
                if "norm" in kind.lower() and _is_leaf(module):
                    raise StaysError("the example does not reach it")
            elif (fixed_calls := _of_other(calls[module], varying)) is not None:
                yield fixed_calls
            elif (other := _normalises(calls[module], varying) or _scales(calls[module], varying)) is not None:
                op, why = other
                yield Refusal(name, kind if _is_leaf(module) else op.name, why)
        except StaysError as why:
            yield Refusal(name, kind, str(why), bool(calls[module]))


def _of_stock(module: nn.Module, calls: Sequence[ModuleCall], varying: set[Value]) -> tuple[Fixed, ...]:
    """Return the calls of one of PyTorch's normalisations, or of a subclass, as s·x + t.

    Raises:
        StaysError: One of them is not.
    """
    if not calls:
        raise StaysError("the example does not reach it")
    if not isinstance(module, _NormBase):
        raise StaysError("it normalises each sample by its own statistics, which are not fixed")
    if module.training:
        raise StaysError("it stays in training mode when the model is put in evaluation mode")
    if module.running_mean is None or module.running_var is None:
        each = "batch" if isinstance(module, _BatchNorm) else "sample"
        raise StaysError(f"it keeps no running statistics, and normalises each {each} by its own")
    fixed_calls = [as_fixed for call in calls if (as_fixed := fixed(call, varying)) is not None]
    if len(fixed_calls) < len(calls):
        raise StaysError(f"a {type(module).__name__} may compute something else than what it is a subclass of")
    return tuple(fixed_calls)


def _of_other(calls: Sequence[ModuleCall], varying: set[Value]) -> tuple[Fixed, ...] | None:
    """Return the calls of any other module as s·x + t; None if one is not, or does not multiply."""
    try:
        fixed_calls = [as_fixed for call in calls if (as_fixed := fixed(call, varying)) is not None and as_fixed.scales]
    except StaysError:
        return None
    if fixed_calls and calls[0].module.training:
        raise StaysError("it stays in training mode when the model is put in evaluation mode")
    return tuple(fixed_calls) if len(fixed_calls) == len(calls) else None


def _normalises(calls: Sequence[ModuleCall], varying: set[Value]) -> tuple[OpCall, str] | None:
    """Return an operation by which a module normalises in its own forward pass, and the reason why that stays."""
    for call in calls:
        module = call.module
        for op in _own(call, varying):
            if op.name in _FUNCTIONS and op.inputs[0] in varying:
                return op, f"a function normalises{at(op)}"
            keeps = any(value.shape == call.inputs[0].shape for value in call.outputs)
            state = any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False)))
            named = "norm" in type(module).__name__.lower()
            if op.name in _STATISTICS and keeps and (state or named) and _is_leaf(module):
                return op, f"it normalises by its input's own statistics, with {op.name}{at(op)}, which are not fixed"
    return None


def _scales(calls: Sequence[ModuleCall], varying: set[Value]) -> tuple[OpCall, str] | None:
    """Return an operation by which a module scales channels in its own forward pass, and the reason why that stays."""
    for call in calls:
        for op in _own(call, varying):
            constants = [value for value in op.inputs if value not in varying]
            if op.name not in SCALES or len(op.inputs) != 2 or len(constants) != 1 or not op.outputs:
                continue
            shape, axis = op.outputs[0].shape, op.outputs[0].axis
            sizes = (1,) * (len(shape) - len(constants[0].shape)) + constants[0].shape
            dims = [dim for dim, size in enumerate(sizes) if size > 1]
            if len(dims) == 1 and (axis is None or axis.dim == dims[0]):
                return op, f"it scales channels by constants as a part of its forward pass{at(op)}, not in a module"
    return None


def _own(call: ModuleCall, varying: set[Value]) -> Iterator[OpCall]:
    """Return the operations of a call itself that depend on the model's inputs."""
    return (step for step in call.steps if isinstance(step, OpCall) and not varying.isdisjoint(step.inputs))


def _is_leaf(module: nn.Module) -> bool:
    """Return True if no part of a module mixes channels, so that the module is a layer, and not a block of layers."""
    return not any(isinstance(part, (nn.Linear, _ConvNd)) for part in module.modules())
