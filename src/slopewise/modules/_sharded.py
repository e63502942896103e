"""Sharded parameters (DTensor), of which each process holds a part."""

from __future__ import annotations

from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Return True for a DTensor, which `fully_shard` and tensor parallelism make of parameters."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Return all values of a tensor; of a sharded one, every process must ask, since each contributes its part.

    Example:
        >>> import torch
        >>> whole(torch.ones(2))
        tensor([1., 1.])
    """
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
