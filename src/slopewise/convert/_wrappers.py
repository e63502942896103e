"""What training puts around a model, which conversion looks through or refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from slopewise.errors import ConversionError


@dataclass(frozen=True)
class Wrapped:
    """The model within a wrapper, and how to wrap another one the same way."""

    inner: nn.Module
    around: Callable[[nn.Module], nn.Module]
    prefix: str = ""  # of the inner model's names in the wrapper
    notes: tuple[str, ...] = ()


def unwrapped(model: nn.Module) -> Wrapped:
    """Look through torch.compile and DataParallel.

    Raises:
        ConversionError: the wrapper has taken hold of the parameters, so that another model cannot take its place.
    """
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        found = unwrapped(inner)
        note = "the model given is compiled, the new one is not: call torch.compile on it"
        return Wrapped(found.inner, found.around, found.prefix, (note, *found.notes))
    if isinstance(model, nn.DataParallel):

        def around(new: nn.Module) -> nn.Module:
            wrapper = copy.copy(model)
            wrapper._modules = {**model._modules, "module": new}
            wrapper.module = new
            return wrapper.train(new.training)

        return Wrapped(model.module, around, "module.")
    if isinstance(model, nn.parallel.DistributedDataParallel) or _is_sharded(model):
        raise ConversionError(
            f"the model is wrapped in {type(model).__name__}, which holds its parameters: convert the model before "
            "it is wrapped, and wrap the result"
        )
    return Wrapped(model, lambda new: new)


def _is_sharded(model: nn.Module) -> bool:
    if not torch.distributed.is_available():
        return False
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    return any(isinstance(module, (FSDPModule, FullyShardedDataParallel)) for module in model.modules())
