"""The weights of single layers: checks that they may be initialised, the sums that they compute, and their draws."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm

from slopewise.errors import ModelError
from slopewise.init._expectation import fit
from slopewise.init._reading import LAYERS
from slopewise.modules import parameters_of, plain

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def names_of(model: nn.Module) -> dict[nn.Module, str]:
    """Return every module's path without the names of wrappers."""
    modules = dict(model.named_modules())
    return {module: plain(modules, path) for path, module in modules.items()}


def layers_of(model: nn.Module) -> dict[nn.Module, str]:
    """Return all convolutions and linear layers, each with its path without the names of wrappers.

    Raises:
        ModelError: there are none, or one has no shape or no values yet.
    """
    layers: dict[nn.Module, str] = {}
    for path, module, name, parameter in parameters_of(model):
        if not isinstance(module, LAYERS):
            continue
        if is_lazy(parameter):
            raise ModelError(f"'{path}.{name}' has no shape yet: pass a batch through the model first")
        if parameter.is_meta:
            raise ModelError(f"'{path}.{name}' has no values (meta device): call model.to_empty(device=...) first")
        layers.setdefault(module, path)
    if not layers:
        raise ModelError(
            f"{type(model).__name__} has no convolution and no linear layer: there is nothing to initialise"
        )
    return layers


def reasons_to_leave(
    model: nn.Module, layers: Mapping[nn.Module, str], called: Collection[nn.Module]
) -> dict[str, str]:
    """Return the reason for each layer that must not be changed, by its path."""
    holders: dict[int, str] = {}  # modules of other kinds, by the parameters that they hold
    for path, module, _, parameter in parameters_of(model):
        if not isinstance(module, LAYERS):
            holders[id(parameter)] = f"{path} ({type(module).__name__})"
    reasons = {}
    for layer, path in layers.items():
        own: Any = getattr(layer, "parametrizations", {})
        kinds, tensors = [], [layer._parameters.get("weight")]
        if "weight" in own:
            kinds = [
                type(parametrization).__name__
                for parametrization in own["weight"]
                if type(parametrization) is not _WeightNorm
            ]
            tensors = list(own["weight"].parameters(recurse=False))
        if kinds:
            reasons[path] = f"its weight is parametrised ({', '.join(kinds)}), which need not give what is drawn"
        elif not all(isinstance(tensor, nn.Parameter) for tensor in tensors):
            reasons[path] = "its weight is no parameter of its own"
        elif not all(tensor.requires_grad for tensor in tensors if tensor is not None):
            reasons[path] = "its weight is frozen"
        elif not all(tensor.is_floating_point() for tensor in tensors if tensor is not None):
            reasons[path] = "its weights are no real numbers"
        elif sharers := [holders[id(tensor)] for tensor in tensors if id(tensor) in holders]:
            reasons[path] = f"it shares its weight with {sharers[0]}"
        elif layer not in called:
            reasons[path] = "the forward pass does not call it, or nothing uses what it gives"
    return reasons


def sums(layer: Any, values: Tensor, *, forward: bool) -> Tensor:
    """Return Σ E[x²] over the terms that one unit sums, for each group.

    Args:
        layer: A convolution, transposed or not, or a linear layer.
        values: Second moments of the channels.
        forward: If True, the terms are elements of the input, otherwise of the output's gradient.
    """
    channels = _channels(layer, forward=forward)
    expanded = fit(values, channels).expand(channels)
    return expanded.reshape(getattr(layer, "groups", 1), -1).sum(1) * _taps(layer, forward=forward)


def fan(layer: Any, *, forward: bool) -> float:
    """Return the number of terms of the sum in `sums`."""
    return _channels(layer, forward=forward) / getattr(layer, "groups", 1) * _taps(layer, forward=forward)


def _channels(layer: Any, *, forward: bool) -> int:
    if isinstance(layer, nn.Linear):
        return layer.in_features if forward else layer.out_features
    return layer.in_channels if forward else layer.out_channels  # type: ignore[no-any-return]


def _taps(layer: Any, *, forward: bool) -> float:
    """Return the mean number of kernel positions that contribute to one element.

    In a convolution all k of them do. In a transposed one with stride s only every s-th position reaches a given
    output, as only every s-th window of a convolution contains a given input.
    """
    if isinstance(layer, nn.Linear):
        return 1.0
    if isinstance(layer, _TRANSPOSED) != forward:
        return float(math.prod(layer.kernel_size))
    places = [max(1.0, size / stride) for size, stride in zip(layer.kernel_size, layer.stride, strict=True)]
    return float(math.prod(places))


def draw_(layer: nn.Module, std: Tensor, distribution: str, generator: torch.Generator | None) -> None:
    """Draw a layer's weight with a standard deviation for each group, and set its bias to 0."""
    weight: Any = layer.weight
    device = weight.device if generator is None else generator.device
    # In at least single precision: half precision has too few values for a fine distribution.
    dtype = torch.promote_types(weight.dtype, torch.float32)
    unit = torch.empty(weight.shape, dtype=dtype, device=device)
    if distribution == "normal":
        unit.normal_(generator=generator)
    else:
        unit.uniform_(-math.sqrt(3), math.sqrt(3), generator=generator)
    # The groups of a convolution follow one another in its weight's first dimension, transposed or not.
    scale = std.to(device, dtype).repeat_interleave(len(unit) // len(std)).view(-1, *[1] * (unit.dim() - 1))
    drawn = (unit * scale).to(weight.device, weight.dtype)
    bias: Any = layer.bias
    with torch.no_grad():
        if parametrize.is_parametrized(layer, "weight"):
            layer.weight = drawn
        else:
            weight.copy_(drawn)
        if bias is not None and bias.requires_grad and not parametrize.is_parametrized(layer, "bias"):
            bias.zero_()
