"""Normalisation by fixed numbers: modules of any class that compute s·x + t, with an s and a t for each channel.

`torch.nn.BatchNorm2d` in evaluation mode is one, as are the many classes called FrozenBatchNorm2d, subclasses with an
activation inside (timm's BatchNormAct2d), LayerScale and ActNorm. So the class does not decide. The operations that a
watched pass shows must leave no possibility but s·x + t; s and t are then measured in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from slopewise.convert._refusal import StaysError
from slopewise.convert._swap import has_hooks, set_module
from slopewise.trace import ForwardTrace, ModuleCall, OpCall, Value

# `_NormBase` and `_ConvNd`, the common base classes of PyTorch's layers, have no public names. A list of the public
# classes in their place would miss those that PyTorch adds.

# Exact classes, whose computation is known; of any other class, the operations are read.
_WHOLE = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
_LINEAR = {name + end for name in ("mul", "multiply", "add", "sub", "subtract", "neg", "negative") for end in ("", "_")}
_LINEAR |= {f"__{sign}{name}__" for name in ("mul", "add", "sub") for sign in ("", "r", "i")}
_LINEAR |= {"imul", "iadd", "isub", "rsub", "addcmul", "addcmul_"}
_FIRST = {"div", "div_", "divide", "divide_", "true_divide", "true_divide_", "__truediv__", "__itruediv__", "itruediv"}
_FIRST |= {"batch_norm", "instance_norm"}  # linear in their first argument, where they are given statistics
SCALES = {name for name in _LINEAR | _FIRST if not any(part in name for part in ("add", "sub"))} | {"addcmul"}
_CASTS = {"to", "type", "type_as", "float", "half", "bfloat16", "double"}
_MOVES = {
    *("view", "reshape", "permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "flatten"),
    *("unflatten", "squeeze", "unsqueeze", "contiguous", "clone", "detach"),
}
_LIKE = {"to", "type_as", "expand_as", "view_as", "reshape_as"}  # take the second tensor's dtype or shape alone


@dataclass(frozen=True)
class Fixed:
    """A call of a module that computes s·x + t, and then calls submodules one after the other.

    Attributes:
        call: Call of the module.
        input: Value x.
        output: Value s·x + t.
        ops: Operations that compute the output.
        rest: Names of the submodules that are called on the output: an activation, or none.
    """

    call: ModuleCall
    input: Value
    output: Value
    ops: tuple[OpCall, ...]
    rest: tuple[str, ...]

    @property
    def scales(self) -> bool:
        """True if the input is multiplied, and not only added to or reshaped."""
        return any(op.name in SCALES or op.module is not None for op in self.ops)

    @property
    def kind(self) -> str:
        """The name of the module's class."""
        return type(self.call.module).__name__


def in_order(call: ModuleCall) -> Iterator[OpCall]:
    """Yield the operations of a call and of the calls within it, in the order of the pass."""
    if call.op is not None:
        yield call.op
    for step in call.steps:
        yield from [step] if isinstance(step, OpCall) else in_order(step)


def values_of_inputs(flow: ForwardTrace) -> set[Value]:
    """Return the values of a pass that depend on the model's inputs; all others are constants."""
    varying = set(flow.root.inputs)
    for op in in_order(flow.root):
        if not varying.isdisjoint(op.inputs) and not _describes(op, varying):
            varying.update(op.outputs)
    return varying


def _describes(op: OpCall, varying: set[Value]) -> bool:
    """Return True if an operation takes only the shape or dtype of varying values, as `weight.type_as(x)` does."""
    return op.name in _LIKE and bool(op.inputs) and op.inputs[0] not in varying


def fixed(call: ModuleCall, varying: set[Value]) -> Fixed | None:
    """Return a module's call as s·x + t followed by submodules; None if it does no arithmetic of its own on its input.

    Args:
        call: Call of the module in a pass in evaluation mode.
        varying: `values_of_inputs` of that pass.

    Raises:
        StaysError: The module's own computation is not s·x + t.
    """
    given = [value for value in call.inputs if value in varying]
    if call.op is not None:
        if type(call.module) not in _WHOLE:
            return None
        return Fixed(call, given[0], call.op.outputs[0], (call.op,), ())
    if len(given) != 1 or len(call.outputs) != 1:
        return None
    value, ops, between = given[0], list[OpCall](), {given[0]}
    steps = [step for step in call.steps if not varying.isdisjoint(step.inputs)]
    while steps and isinstance(step := steps[0], OpCall):
        steps.pop(0)
        if _describes(step, varying):
            continue
        if not _is_linear(step, value, varying):
            raise StaysError(f"it does not compute s·x + t with fixed numbers alone, but calls {step.name}{at(step)}")
        value = step.outputs[0]
        ops.append(step)
        between.add(value)
    if not ops:
        return None
    output, rest = value, list[str]()
    for step in steps:
        name = None if isinstance(step, OpCall) else _child(call.module, step.module)
        if name is None or name in rest or step.inputs != [value] or len(step.outputs) != 1:
            raise StaysError("it computes more than s·x + t and an activation of it")
        value = step.outputs[0]
        rest.append(name)
    if call.outputs != [value]:
        raise StaysError("it returns something else than it computes from its input")
    inside = set(call.walk())
    if any(user.call not in inside for value in between - {output, given[0]} for user in value.users):
        raise StaysError("what it computes on the way is needed elsewhere")
    if (output.shape, output.dtype) != (given[0].shape, given[0].dtype):
        raise StaysError(f"it makes {output.dtype} of shape {output.shape} of {given[0].dtype} of {given[0].shape}")
    return Fixed(call, given[0], output, tuple(ops), tuple(rest))


def at(op: OpCall) -> str:
    """Return the line of code of an operation, in words."""
    return f", at {op.where or 'a place unknown'}"


def _is_linear(op: OpCall, value: Value, varying: set[Value]) -> bool:
    if [other for other in op.inputs if other in varying] != [value] or len(op.outputs) != 1:
        return False
    return op.name in _LINEAR or (op.inputs[0] is value and op.name in _FIRST | _CASTS | _MOVES)


def _child(owner: nn.Module, module: nn.Module) -> str | None:
    """Return the name of a submodule that may be an activation: it holds no layer that mixes channels; else None."""
    if any(isinstance(part, (nn.Linear, _ConvNd, _NormBase)) for part in module.modules()):
        return None
    # Not named_children(), which leaves out the second name of a module.
    return next((name for name, child in owner._modules.items() if child is module), None)


def scale_and_shift(fixed_call: Fixed, dim: int) -> tuple[Tensor, Tensor]:
    """Measure s and t of a module, in float64, one number of each for every index of a dimension of its input.

    Raises:
        StaysError: The module does not run by itself, or turns out not to compute s·x + t.
    """
    shape = _smaller(fixed_call, dim)
    # ((s·L + t) − (−s·L + t)) / 2L is s to rounding for every t; L is also far from the limits of float32.
    large = 2.0**30

    def of(alone: nn.Module, x: Tensor) -> Tensor:
        y = alone(x.clone()).double()
        if y.shape != shape or not y.isfinite().all():
            raise StaysError("its numbers are not all finite")
        return y  # type: ignore[no-any-return]

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            generator = torch.Generator().manual_seed(0)
            probes = [torch.randn(shape, generator=generator, dtype=torch.float64) * 8.0**k for k in (-3, 0, 3)]
            alone = _alone(fixed_call)
            shift, up, down = (of(alone, torch.full_like(probes[0], number)) for number in (0.0, large, -large))
            answers = [of(alone, probe) for probe in probes]
        except StaysError:
            raise
        except Exception as error:  # a user's module can raise anything
            first = (str(error).splitlines() or [""])[0]
            raise StaysError(f"it does not run by itself ({type(error).__name__}: {first})") from error
    scale = (up - down) / (2 * large)
    # A module that casts is only as exact as the dtype that it casts to.
    exact = 1e-6 if any(op.name in _CASTS for op in fixed_call.ops) else 1e-11
    for probe, answer in zip(probes, answers, strict=True):
        size = (scale * probe).abs() + shift.abs()
        if ((answer - (scale * probe + shift)).abs() > exact * size.max()).any():
            raise StaysError("it is no s·x + t: measured, other inputs give other s and t")
    return _per_channel(scale, dim, exact), _per_channel(shift, dim, exact)


def _smaller(fixed_call: Fixed, dim: int) -> tuple[int, ...]:
    """Return the shape to measure on: that of the input, reduced where it is large."""
    shape = fixed_call.input.shape
    if fixed_call.call.op is not None:  # results of PyTorch's own classes do not depend on the other sizes
        return tuple(size if n == dim else min(size, 2) for n, size in enumerate(shape))
    return (1, *shape[1:]) if dim > 0 and prod(shape) > 2**22 else shape


def _alone(fixed_call: Fixed) -> nn.Module:
    """Return a copy of the module in float64 without the submodules after s·x + t."""
    alone = copy.deepcopy(fixed_call.call.module).to("cpu", torch.float64).eval()
    for name in fixed_call.rest:
        set_module(alone, [name], nn.Identity())
    return alone


def _per_channel(numbers: Tensor, dim: int, exact: float) -> Tensor:
    rows = numbers.movedim(dim, 0).flatten(1)
    first = rows[:, 0]
    if ((rows - first[:, None]).abs() > exact * rows.abs().max()).any():
        raise StaysError(f"its numbers are not one for each channel, which are in dimension {dim}")
    return first


def stand_in(fixed_call: Fixed) -> nn.Module:
    """Return a module without its s·x + t: an Identity, or a Sequential with its activation under the same name."""
    module = fixed_call.call.module
    rest = {name: module.get_submodule(name) for name in fixed_call.rest}
    if all(type(child) is nn.Identity and not has_hooks(child) for child in rest.values()):
        return nn.Identity().eval()
    left = nn.Sequential()
    for name, child in rest.items():
        left.add_module(name, child)
    return left.eval()
