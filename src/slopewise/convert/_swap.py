"""Replacement of modules within a model, and copies of a model."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from slopewise.errors import ConversionError
from slopewise.trace import held_by

# torch.nn.Module has no public access to the hooks that are registered. Without these attributes, the hooks of a
# replaced module would be lost without a word, and modules with hooks could be folded or fused away.
_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
)


class WriteBack(nn.Module):
    """An activation whose output is also written over its input, as an in-place activation does.

    Used where the network reads the input again and expects the output there.
    """

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Apply the activation to a copy of the input, which its backward pass may keep, and overwrite the input."""
        return input.copy_(self.act(input.clone()))


def names_of(model: nn.Module, module: nn.Module) -> tuple[str, ...]:
    """Return all names of a module in a model, in the order of `named_modules`; the model's own is ""."""
    return tuple(name for name, other in model.named_modules(remove_duplicate=False) if other is module)


def swap_(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Put `new` at all names of `old`, with the hooks of `old`.

    Returns:
        The model; `new` if `old` is the model itself.
    """
    for attribute in _HOOKS:
        if getattr(old, attribute, None):
            setattr(new, attribute, getattr(old, attribute))
    return set_module(model, names_of(model, old), new)


def set_module(model: nn.Module, names: Sequence[str], new: nn.Module) -> nn.Module:
    """Put a module at some names in a model; returns the model, or `new` if the model's own name is among them."""
    for name in names:
        if not name:
            return new
        holder, _, attribute = name.rpartition(".")
        # setattr(), which Module.set_submodule() calls too, would run the __setattr__ of a user's class: it may do
        # more than to set, or refuse the module.
        model.get_submodule(holder)._modules[attribute] = new
    return model


def has_hooks(module: nn.Module) -> bool:
    """Return True if hooks of any sort are registered on a module."""
    return any(getattr(module, attribute) for attribute in _HOOKS)


def copy_of(model: nn.Module) -> nn.Module:
    """Return a deep copy, in which tensors that the model keeps of an earlier pass have no autograd graph.

    With their graph, such tensors cannot be copied.

    Raises:
        ConversionError: The model cannot be copied.
    """
    results = [t for t in held_by(model) if isinstance(t, Tensor) and t.grad_fn is not None]
    try:
        return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in results})
    except Exception as error:  # copying runs code of the user's modules
        raise ConversionError(
            f"the model cannot be copied ({type(error).__name__}: {error}): conversion leaves the model given as it "
            "is, and so must copy it"
        ) from error
