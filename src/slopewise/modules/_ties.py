"""Entries of a state dict that are one tensor under several names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def memory(tensor: Tensor) -> tuple[object, ...]:
    """Return a key of a tensor's memory and layout, which is equal for two names of one tensor.

    A tensor without elements, or of a subclass that may have no memory of its own (DTensor), equals itself alone.
    """
    import torch

    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not tensor.numel() or tensor.is_meta:
        return (id(tensor),)
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.device


def aliases(state_dict: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return, for each name of a tensor that has several, the others.

    Args:
        state_dict: Names and tensors, with ``keep_vars=True`` if they come from a module.

    Example:
        >>> from torch import nn
        >>> act = nn.PReLU()
        >>> aliases(nn.Sequential(act, nn.PReLU(), act).state_dict(keep_vars=True))
        {'0.weight': ('2.weight',), '2.weight': ('0.weight',)}
    """
    import torch

    groups: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in state_dict.items():
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
            groups.setdefault(memory(tensor), []).append(name)
    return {
        name: tuple(alias for alias in group if alias != name)
        for group in groups.values()
        if len(group) > 1
        for name in group
    }
