"""Wrappers that training puts around a model, and the one way to look through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Kind = Literal["compiled", "data parallel", "distributed", "sharded"]
Refusal = Callable[[nn.Module], Exception]
Policy = Mapping[Kind, Literal["open"] | Refusal]
"""Treatment of each kind of wrapper: "open", or a function (wrapper) -> error to raise. Others stay as they are."""


@dataclass(frozen=True)
class Unwrapped:
    """A model without its outer wrappers.

    Attributes:
        model: The innermost model.
        wrappers: The wrappers that were opened, with their kinds, the outermost first.
    """

    model: nn.Module
    wrappers: tuple[tuple[Kind, nn.Module], ...] = ()

    def has(self, kind: Kind) -> bool:
        """Return True if a wrapper of a kind was opened."""
        return any(kind == opened for opened, _ in self.wrappers)


def unwrap(model: nn.Module, policy: Policy) -> Unwrapped:
    """Look through the wrappers around a model.

    Args:
        model: Model, wrapped or not.
        policy: Treatment of each kind of wrapper that is met from the outside in. "compiled" is torch.compile's
            module, "data parallel" `torch.nn.DataParallel`, "distributed" `DistributedDataParallel`, and "sharded" a
            model whose parameters, or those of a part, are sharded by `FullyShardedDataParallel` or `fully_shard`.

    Raises:
        Exception: The error of the policy, if it refuses a wrapper that is met.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> unwrapped = unwrap(nn.DataParallel(net), {"data parallel": "open"})
        >>> unwrapped.model is net, unwrapped.has("data parallel"), unwrapped.has("compiled")
        (True, True, False)
    """
    opened: list[tuple[Kind, nn.Module]] = []
    while (kind := kind_of(model)) and (treatment := policy.get(kind)):
        if treatment != "open":
            raise treatment(model)
        opened.append((kind, model))
        model = _inner(model)
    return Unwrapped(model, tuple(opened))


def kind_of(model: nn.Module) -> Kind | None:
    """Return the kind of wrapper that a module is; None for an ordinary module."""
    if isinstance(getattr(model, "_orig_mod", None), nn.Module):  # private, but the only trace: OptimizedModule's class
        return "compiled"  # is private as well, and other compilers use the same name for their modules
    if isinstance(model, nn.DataParallel):
        return "data parallel"
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return "distributed"
    return "sharded" if _is_sharded(model) else None


def _inner(wrapper: nn.Module) -> nn.Module:
    inner: nn.Module = wrapper._orig_mod if kind_of(wrapper) == "compiled" else wrapper.module  # type: ignore[assignment]
    return inner


def _is_sharded(model: nn.Module) -> bool:
    if not torch.distributed.is_available():
        return False
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    return any(isinstance(module, FSDPModule | FullyShardedDataParallel) for module in model.modules())
