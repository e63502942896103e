"""Normalisation by fixed numbers, s·x + t for each channel, folded into the layer before it.

A watched pass shows which layer that is, and whether anything else needs its output.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized

from slopewise.convert._fixed import Fixed, scale_and_shift, stand_in, values_of_inputs
from slopewise.convert._norms import norms
from slopewise.convert._refusal import Refusal, StaysError
from slopewise.convert._swap import has_hooks
from slopewise.trace import ForwardTrace, ModuleCall, OpCall, Value

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Exact classes: a subclass may compute something else.
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_PAST = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)  # nothing at all in evaluation mode
Layer = nn.Linear | _ConvNd
Affine = tuple[Tensor, Tensor]  # s and t


@dataclass(frozen=True)
class Foldable:
    """A normalisation that can be folded.

    Attributes:
        fixed_call: One of its calls.
        layers: Layers to fold it into, one for each call site, with the s and t of each.
    """

    fixed_call: Fixed
    layers: Mapping[Layer, Affine]

    @property
    def norm(self) -> nn.Module:
        """The module that normalises."""
        return self.fixed_call.call.module

    def changes(self) -> dict[nn.Module, nn.Module]:
        """Return the modules to put in the places of the layers and the normalisation.

        Raises:
            StaysError: The new weights exceed the range of their dtype.
        """
        new: dict[nn.Module, nn.Module] = {layer: folded(layer, *affine) for layer, affine in self.layers.items()}
        return {**new, self.norm: stand_in(self.fixed_call)}


def foldable(model: nn.Module, flow: ForwardTrace) -> tuple[list[Foldable], list[Refusal]]:
    """Return the normalisations that can be folded, and refusals for the others.

    Args:
        model: Model in evaluation mode.
        flow: Pass through the model.
    """
    names = {module: name for name, module in reversed(list(model.named_modules()))}
    ops: defaultdict[nn.Module, list[OpCall]] = defaultdict(list)
    for op in flow.ops():
        if op.module is not None:
            ops[op.module].append(op)
    can, cannot = [], []
    for calls in norms(model, flow, values_of_inputs(flow)):
        if isinstance(calls, Refusal):
            cannot.append(calls)
            continue
        try:
            can.append(Foldable(calls[0], _layers_before(calls, ops, names)))
        except StaysError as why:
            cannot.append(Refusal(names[calls[0].call.module], calls[0].kind, str(why)))
    return can, cannot


def folded(layer: Layer, scale: Tensor, shift: Tensor) -> Layer:
    """Return a copy of a linear or convolution layer that computes s·y + t, where the layer computes y.

    With s and t of shape (C,) for C output channels, its weights are s·W and its bias is s·b + t. They are computed in
    float64 and rounded once.

    Raises:
        StaysError: The new weights exceed the range of their dtype.

    Example:
        >>> linear = nn.Linear(2, 1, bias=False)
        >>> nn.init.ones_(linear.weight).shape
        torch.Size([1, 2])
        >>> new = folded(linear, torch.tensor([0.5]), torch.tensor([-1.5]))
        >>> new.weight.tolist(), new.bias.item()
        ([[0.5, 0.5]], -1.5)
    """
    new, old = copy.deepcopy(layer), layer.weight
    groups = layer.groups if isinstance(layer, _TRANSPOSED) else None
    by_output = _turned(_exact(old), groups)
    weight = by_output * scale.view(-1, *[1] * (by_output.dim() - 1))
    bias = shift if layer.bias is None else _exact(layer.bias) * scale + shift
    with torch.no_grad():
        new.weight = nn.Parameter(torch.empty_like(old).copy_(_turned(weight, groups)), old.requires_grad)
        new.bias = nn.Parameter(bias.to(old), old.requires_grad)
    if not (new.weight.isfinite().all() and new.bias.isfinite().all()):
        raise StaysError(f"the folded weights would not be finite in {old.dtype}")
    return new


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()


def _turned(weight: Tensor, groups: int | None) -> Tensor:
    """Return weights (in, out/groups, ...) of a transposed convolution as (out, in/groups, ...), or the reverse."""
    if groups is None:
        return weight
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # type: ignore[no-any-return]


def _layers_before(
    calls: Sequence[Fixed], ops: Mapping[nn.Module, Sequence[OpCall]], names: Mapping[nn.Module, str]
) -> dict[Layer, Affine]:
    """Return the layers whose output only a normalisation needs, with the s and t of each.

    Raises:
        StaysError: There is no such layer before one of the calls, or something else needs its output.
    """
    allowed = {op for fixed_call in calls for call in fixed_call.call.walk() for op in _own(call)}
    layers: dict[Layer, Affine] = {}
    outputs: list[Value] = []
    for fixed_call in calls:
        layer, past = _layer_before(fixed_call, names)
        allowed.update(past)
        outputs += [op.outputs[0] for op in (*past, *ops[layer])]
        value = past[-1].outputs[0] if past else fixed_call.input
        affine = scale_and_shift(fixed_call, _dimension(fixed_call, value, names[layer]))
        if layer in layers and not all(map(torch.equal, layers[layer], affine)):
            raise StaysError(f"it computes something else at each of its calls after {names[layer]}")
        layers[layer] = affine
    others = [_named(user, names) for value in outputs for user in value.users if user not in allowed]
    if others:
        listed = " and ".join(names[layer] for layer in layers)
        raise StaysError(f"the output of {listed} is needed by {', '.join(dict.fromkeys(others))} as well")
    return layers


def _own(call: ModuleCall) -> Iterable[OpCall]:
    return [call.op] if call.op is not None else [step for step in call.steps if isinstance(step, OpCall)]


def _dimension(fixed_call: Fixed, value: Value, layer: str) -> int:
    """Return the dimension of the layer's channels, the only one along which s and t may vary."""
    dim = None if value.axis is None else value.axis.dim
    if dim is None or (fixed_call.call.op is not None and dim != 1):
        raise StaysError(f"it normalises dimension 1 of {value.shape}, which is not that of {layer}'s channels")
    return dim


def _layer_before(fixed_call: Fixed, names: Mapping[nn.Module, str]) -> tuple[Layer, list[OpCall]]:
    """Return the layer that computes a normalisation's input, and the operations between them that change nothing."""
    value, past, before = fixed_call.input, list[OpCall](), fixed_call.input.producer
    while before is not None and type(before.module) in _PAST:
        past.insert(0, before)
        value = before.inputs[0]
        before = value.producer
    if before is None:
        raise StaysError("it comes first, with no layer before it")
    layer, around = before.module, before.call.module
    if layer is None and isinstance(around, _LAYERS):
        if is_parametrized(around):
            raise StaysError(f"{names[around]} before it is parametrised: remove_parametrizations() first")
        raise StaysError(f"a {type(around).__name__} before it may compute something else than its base class")
    if not isinstance(layer, Layer) or type(layer) not in _LAYERS:
        raise StaysError(f"it follows {_named(before, names)}, no linear or convolution layer")
    hops = zip((before, *past), (*past, None), strict=True)
    sight = [
        module
        for giver, taker in hops
        for module in _in_sight(giver.outputs[0], giver.call, fixed_call.call if taker is None else taker.call)
    ]
    hooked = [names[module] for module in sight if has_hooks(module)]
    if hooked:
        raise StaysError(f"hooks of {hooked[0]} see the values, which would be others")
    return layer, past


def _in_sight(value: Value, before: ModuleCall, after: ModuleCall) -> Iterator[nn.Module]:
    """Yield the modules whose hooks see a value passed from one call to another: theirs, and those around them."""
    call: ModuleCall | None = before
    while call is not None and (call is before or value in call.outputs):
        yield call.module
        call = call.parent
    call = after
    while call is not None and (call is after or value in call.inputs):
        yield call.module
        call = call.parent


def _named(op: OpCall, names: Mapping[nn.Module, str]) -> str:
    """Return a name for an operation in messages."""
    if op.name == "output":
        return "the caller, who is returned it,"
    return op.name if op.module is None else names[op.module] or op.name
