"""Roles of parameters, by the modules that hold them: a slope, part of a normalisation, a bias, or a weight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from slopewise.modules._names import WRAPPER_NAMES
from slopewise.nn import BatchNormPReLU

Role = Literal["slope", "norm or bias", "weight"]

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_NAMED_NORM = re.compile(r"Norm(alization)?(?![a-z])|_norm$")
# These are never norms, whatever their name: a NormLinear holds a linear layer's weight.
_NO_NORMS = (_ConvNd, nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.MultiheadAttention)
_SEVERAL_BIASES = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)  # in_proj_bias, bias_ih_l0, ...
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def slope_name(module: torch.nn.Module) -> str | None:
    """Return the name under which a module itself holds learned slopes; None if it holds none.

    Example:
        >>> slope_name(torch.nn.PReLU()), slope_name(torch.nn.BatchNorm2d(3))
        ('weight', None)
    """
    if isinstance(module, torch.nn.PReLU):  # ours is one, too
        return "weight"
    return "slope" if isinstance(module, BatchNormPReLU) and module.learnable else None


def role(module: nn.Module, name: str) -> Role:
    """Return the role of the parameter that a module holds under a name."""
    if name == slope_name(module):
        return "slope"
    biased = name == "bias" or ("bias" in name and isinstance(module, _SEVERAL_BIASES))
    return "norm or bias" if biased or _is_norm(module) else "weight"


def parameters_of(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """Yield every parameter wherever it is held, as (path of the layer, layer, name in the layer, parameter).

    A parametrised tensor's parameters (`parametrizations.weight.original`) are the layer's, under the tensor's own
    name, and so are those that pruning and norms of the older kind make of it (`weight_orig`, `weight_g`). Wrappers
    (DDP, FSDP, torch.compile, ...) are left out of the path.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, module in modules.items():
        owner, inside, tensor = f".{path}".partition(".parametrizations.")
        owner = owner.removeprefix(".")
        for name, parameter in module.named_parameters(recurse=False):
            own = tensor.split(".")[0] if inside else _made_of(module, name)
            yield plain(modules, owner), modules[owner], own, parameter


def _made_of(module: nn.Module, name: str) -> str:
    """Return the name of the tensor that is computed from a parameter before each forward pass, or the parameter's own.

    torch.nn.utils.prune, weight_norm and spectral_norm leave that tensor where the parameter was, as a mere attribute.
    """
    tensor, _, part = name.rpartition("_")
    computed = part in {"orig", "g", "v"} and isinstance(vars(module).get(tensor), Tensor)
    return tensor if computed else name


def current(module: nn.Module, name: str) -> Tensor:
    """Return a module's tensor as it is now; a pruned one is computed anew, not as the latest forward pass left it."""
    masked: Tensor = getattr(module, name)
    # By `_parameters` and `_buffers`: pruning keeps them under names that a network may use for attributes of its own.
    original, mask = module._parameters.get(f"{name}_orig"), module._buffers.get(f"{name}_mask")
    return masked if original is None or mask is None else mask.to(original.dtype) * original


def _is_norm(module: nn.Module) -> bool:
    if isinstance(module, (*_NORMS, *_NO_NORMS)):
        return isinstance(module, _NORMS)
    # Many a library's norm derives from nn.Module alone (LlamaRMSNorm, EvoNorm2dS0, InPlaceABN): only its name, or
    # the statistics that it keeps, tell what it is.
    return "running_mean" in module._buffers or any(map(_NAMED_NORM.search, (c.__name__ for c in type(module).__mro__)))


def plain(modules: Mapping[str, nn.Module], path: str) -> str:
    """Return the path without the parts that wrappers add."""
    parts = path.split(".")
    parents = [modules[".".join(parts[:depth])] for depth in range(len(parts))]
    return ".".join(
        part
        for part, parent in zip(parts, parents, strict=True)
        if not (part in WRAPPER_NAMES or (part == "module" and isinstance(parent, _PARALLEL)))
    )
