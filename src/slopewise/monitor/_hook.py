"""Hooks of a monitor: those of modules, which copies leave behind, and those of optimizers, which keep none alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch


class Hook:
    """Hook that calls a function; its copies and unpickled copies do nothing.

    Averages of weights copy models while they train (`torch.optim.swa_utils.AveragedModel`), and `torch.save` pickles
    them, hooks included: the copy is not watched, and must not carry the monitor with it.

    Example:
        >>> import copy
        >>> hook = Hook(print)
        >>> hook("seen"), copy.deepcopy(hook)("not seen")
        seen
        (None, None)
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __reduce__(self) -> tuple[Callable[[Callable[..., Any]], Hook], tuple[Callable[..., Any]]]:
        return Hook, (_nothing,)


def _nothing(*_: Any) -> None:
    pass


def weakly(method: Callable[[torch.optim.Optimizer], None]) -> Callable[..., None]:
    """Return the method as an optimizer's hook that does not keep its object alive."""
    reference = weakref.WeakMethod(method)

    # Private: the public torch.compiler.disable imports the whole compiler. Without it, torch.compile of an optimizer's
    # step would trace the hook and all that follows it, and break the graph or recompile at every sampled step.
    @torch._disable_dynamo  # type: ignore[attr-defined]
    def hook(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        target = reference()
        if target is not None:
            target(optimizer)

    return hook


def remove_hooks(handles: Sequence[Callable[[], Any]]) -> None:
    """Call the functions that take hooks out."""
    for remove in handles:
        remove()
