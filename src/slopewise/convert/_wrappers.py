"""The model that conversion and folding work on, within what training puts around it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import nn

from slopewise.errors import ConversionError
from slopewise.modules import Policy, Unwrapped, unwrap


@dataclass(frozen=True)
class Wrapped:
    """A model within its wrappers, and the way to wrap another one alike.

    Attributes:
        inner: The model without wrappers.
        prefix: Prefix of the inner model's names in the wrapped one.
        notes: Notes about wrappers that the new model will lack.
    """

    inner: nn.Module
    prefix: str
    notes: tuple[str, ...]
    _unwrapped: Unwrapped

    def around(self, new: nn.Module) -> nn.Module:
        """Return a new model in the data-parallel wrappers of the old one; torch.compile's is left out."""
        for kind, wrapper in reversed(self._unwrapped.wrappers):
            if kind == "data parallel":
                new = _rewrapped(wrapper, new)
        return new


def unwrapped(model: nn.Module) -> Wrapped:
    """Look through torch.compile and DataParallel.

    Raises:
        ConversionError: The wrapper holds the parameters, so that another model cannot take the place of its own.
    """
    within = unwrap(model, _POLICY)
    parallel = sum(kind == "data parallel" for kind, _ in within.wrappers)
    note = "the model given is compiled, the new one is not: call torch.compile on it"
    return Wrapped(within.model, "module." * parallel, (note,) if within.has("compiled") else (), within)


def _rewrapped(wrapper: nn.Module, new: nn.Module) -> nn.Module:
    # A new DataParallel would check the devices again and move the model to the first of them. A copy's `_modules` are
    # a dict of its own: the wrapper given must keep its module.
    other = copy.copy(wrapper)
    other._modules = {**wrapper._modules, "module": new}
    other.module = new
    return other.train(new.training)


def _refusal(wrapper: nn.Module) -> ConversionError:
    return ConversionError(
        f"the model is wrapped in {type(wrapper).__name__}, which holds its parameters: convert the model before "
        "it is wrapped, and wrap the result"
    )


_POLICY: Policy = {"compiled": "open", "data parallel": "open", "distributed": _refusal, "sharded": _refusal}
