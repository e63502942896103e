"""Batch normalisation in evaluation mode is γ·(x − μ)/√(σ² + ε) + β, which the layer before it can do as well.

Which layer that is, and whether anything else needs what it gives now, is read off a pass that was watched.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized

from slopewise._flow import Call, Flow, Op, Value
from slopewise.convert._measured import StaysError
from slopewise.convert._normal import Refusal
from slopewise.convert._replace import has_hooks

# Exact classes: a subclass may compute something else.
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
Layer = nn.Linear | _ConvNd


@dataclass(frozen=True)
class Foldable:
    """A batch normalisation and the layers that it can be folded into: one, or one for each of its calls."""

    norm: _BatchNorm
    layers: tuple[Layer, ...]

    def changes(self) -> dict[nn.Module, nn.Module]:
        """What is to stand in their places.

        Raises:
            StaysError: the new weights are beyond what their dtype can hold.
        """
        return {**{layer: folded(layer, self.norm) for layer in self.layers}, self.norm: nn.Identity().eval()}


def foldable(model: nn.Module, flow: Flow) -> tuple[list[Foldable], list[Refusal]]:
    """The batch normalisations that can be folded, and those that cannot, with the reason.

    Args:
        model: in evaluation mode.
        flow: a pass through it.
    """
    names = {module: name for name, module in reversed(list(model.named_modules()))}
    reached = {call.module for call in flow.calls()}
    calls: defaultdict[nn.Module, list[Op]] = defaultdict(list)
    functions: dict[nn.Module, Op] = {}
    for op in flow.ops():
        if op.module is not None:
            calls[op.module].append(op)
        elif op.name == "batch_norm":
            functions.setdefault(op.call.module, op)
    can, cannot = [], []
    for name, module in model.named_modules():
        try:
            if isinstance(module, _BatchNorm):
                can.append(Foldable(module, _layers_before(module, calls, names)))
            elif module in functions:
                raise StaysError(f"a function normalises, at {functions[module].where or 'a place unknown'}")
        except StaysError as why:
            kind = type(module).__name__ if isinstance(module, _BatchNorm) else "batch_norm"
            cannot.append(Refusal(name, kind, str(why), module in reached))
    return can, cannot


def folded(layer: Layer, norm: _BatchNorm) -> Layer:
    """A copy of a linear or convolution layer that gives what normalising its output gives, in evaluation mode.

    With s = γ/√(σ² + ε) for each output channel, its weights are s·W and its bias s·(b − μ) + β. They are computed in
    float64 and rounded once.

    Raises:
        StaysError: the new weights are beyond what their dtype can hold.

    Example:
        >>> linear, norm = nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1, eps=0.0)
        >>> norm.running_var.fill_(4.0), norm.running_mean.fill_(3.0)
        (tensor([4.]), tensor([3.]))
        >>> nn.init.ones_(linear.weight).shape, folded(linear, norm)
        (torch.Size([1, 2]), Linear(in_features=2, out_features=1, bias=True))
        >>> folded(linear, norm).weight.tolist(), folded(linear, norm).bias.item()
        ([[0.5, 0.5]], -1.5)
    """
    new, old = copy.deepcopy(layer), layer.weight
    groups = layer.groups if isinstance(layer, _TRANSPOSED) else None
    weight, bias = fuse_conv_bn_weights(
        _turned(_exact(old), groups),
        _exact(layer.bias),
        _exact(norm.running_mean),
        _exact(norm.running_var),
        norm.eps,
        _exact(norm.weight),
        _exact(norm.bias),
    )
    with torch.no_grad():
        new.weight = nn.Parameter(torch.empty_like(old).copy_(_turned(weight, groups)), old.requires_grad)
        new.bias = nn.Parameter(bias.to(old), old.requires_grad)
    if not (new.weight.isfinite().all() and new.bias.isfinite().all()):
        raise StaysError(f"the folded weights would not be finite in {old.dtype}")
    return new


def _exact(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu().double()


def _turned(weight: Tensor, groups: int | None) -> Tensor:
    """From (in, out/groups, ...), as a transposed convolution has its weights, to (out, in/groups, ...), and back."""
    if groups is None:
        return weight
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # type: ignore[no-any-return]


def _layers_before(
    norm: _BatchNorm, calls: Mapping[nn.Module, Sequence[Op]], names: Mapping[nn.Module, str]
) -> tuple[Layer, ...]:
    """The layers whose output a batch normalisation alone needs."""
    if type(norm) not in _NORMS:
        raise StaysError(f"a {type(norm).__name__} may compute something else than a torch.nn.BatchNorm")
    if norm not in calls:
        raise StaysError("the example does not reach it")
    if norm.training:
        raise StaysError("it stays in training mode when the model is put in evaluation mode")
    if norm.running_mean is None or norm.running_var is None:
        raise StaysError("it keeps no running statistics, and normalises each batch by its own")
    layers = tuple(dict.fromkeys(_layer_before(op, names) for op in calls[norm]))
    for layer in layers:
        for op in calls[layer]:
            others = [_named(user, names) for user in op.outputs[0].users if user not in calls[norm]]
            if others:
                raise StaysError(
                    f"the output of {names[layer]} is needed by {', '.join(dict.fromkeys(others))} as well"
                )
    return layers


def _layer_before(op: Op, names: Mapping[nn.Module, str]) -> Layer:
    value = op.inputs[0]
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
    if value.axis is None or value.axis.dim != 1:
        raise StaysError(f"it normalises dimension 1 of {value.shape}, which is not that of {names[layer]}'s channels")
    hooked = [names[module] for module in _in_sight(value, before.call, op.call) if has_hooks(module)]
    if hooked:
        raise StaysError(f"hooks of {hooked[0]} see the values, which would be others")
    return layer


def _in_sight(value: Value, before: Call, after: Call) -> Iterator[nn.Module]:
    """The modules whose hooks get a value that one call gives and another takes: these, and what is around them."""
    call: Call | None = before
    while call is not None and (call is before or value in call.outputs):
        yield call.module
        call = call.parent
    call = after
    while call is not None and (call is after or value in call.inputs):
        yield call.module
        call = call.parent


def _named(op: Op, names: Mapping[nn.Module, str]) -> str:
    """An operation in words."""
    if op.name == "output":
        return "the caller, who is returned it,"
    return op.name if op.module is None else names[op.module] or op.name
