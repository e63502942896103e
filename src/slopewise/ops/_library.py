"""Schemas of the operators `torch.ops.slopewise.*`, each implemented on every device by PyTorch's own operations.

The compiled kernels replace these implementations on the CPU. Users call `slopewise.nn.functional`, which arrives here
through `slopewise.ops.prelu` and `slopewise.ops.batch_norm_prelu`; the raw operators are for graphs and for extensions
of the package. They support autograd, fake tensors, vmap and (prelu) autocast, registered in `_prelu` and
`_batch_norm_prelu`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

_F = TypeVar("_F", bound=Callable[..., Any])

# Any strides will do: a compiler need not restore those of the uncompiled program, and keeps its own.
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.flexible_layout)

library = torch.library.Library("slopewise", "DEF")
library.define("prelu(Tensor input, Tensor slope, int channel_dim) -> Tensor", tags=_TAGS)
# `given` is the input or, with `inverted`, the output.
library.define(
    "prelu_backward(Tensor grad, Tensor given, Tensor slope, int channel_dim, bool inverted) "
    "-> (Tensor grad_input, Tensor grad_slope)",
    tags=_TAGS,
)
# Without running statistics it normalises by the batch's own. `invertible` is True if the backward pass may be given
# the output instead of the input.
library.define(
    "batch_norm_prelu(Tensor input, Tensor? residual, Tensor slope, Tensor? running_mean, Tensor? running_var, "
    "Tensor? weight, Tensor? bias, float eps) -> (Tensor output, Tensor mean, Tensor var, Tensor invertible)",
    tags=_TAGS,
)
# The gradients of a missing residual, weight or bias have no elements.
library.define(
    "batch_norm_prelu_backward(Tensor grad, Tensor given, Tensor? residual, Tensor slope, Tensor mean, Tensor var, "
    "Tensor? weight, Tensor? bias, bool training, float eps, bool inverted) -> (Tensor grad_input, "
    "Tensor grad_residual, Tensor grad_weight, Tensor grad_bias, Tensor grad_slope)",
    tags=_TAGS,
)
# They add sums over all dimensions but `axis` to `sums`, for monitors; `slopewise.ops.units` documents them. Signs are
# kept as bits, in a vector of bytes whose order is the kernels' own; it is empty if there are none to be had.
library.define("add_unit_signs(Tensor(a!) sums, Tensor z, int axis, bool keep) -> Tensor", tags=_TAGS)
library.define("add_unit_reached(Tensor(a!) sums, Tensor grad, int axis) -> ()", tags=_TAGS)
library.define("add_unit_squares(Tensor(a!) sums, Tensor? grad_z, Tensor? grad_y, int axis) -> ()", tags=_TAGS)
library.define(
    "add_unit_behind(Tensor(a!) sums, Tensor source, Tensor grad_y, Tensor slopes, int axis) -> ()", tags=_TAGS
)
library.define("add_unit_squares_kept(Tensor(a!) sums, Tensor kept, Tensor grad_y, int axis) -> ()", tags=_TAGS)
library.define(
    "add_unit_behind_kept(Tensor(a!) sums, Tensor kept, Tensor grad_y, Tensor slopes, int axis) -> ()", tags=_TAGS
)
library.define("cpu_capability() -> str")


def everywhere(name: str) -> Callable[[_F], _F]:
    """Implement an operator on every device without a compiled kernel, on fake tensors, and under vmap.

    Under vmap the operator is called sample by sample: PyTorch allows no vmap within an operator's rule for vmap.
    """

    def register(function: _F) -> _F:
        library.impl(name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"slopewise::{name}", function, lib=library)

        def batched(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
            operator = getattr(torch.ops.slopewise, name)
            pairs = list(zip(arguments, in_dims, strict=True))
            rows = [operator(*(a if d is None else a.select(d, i) for a, d in pairs)) for i in range(info.batch_size)]
            if isinstance(rows[0], Tensor):
                return torch.stack(rows), 0
            return tuple(map(torch.stack, zip(*rows, strict=True))), (0,) * len(rows[0])

        torch.library.register_vmap(f"slopewise::{name}", batched, lib=library)
        return function

    return register


def channel_values(values: Tensor | None, missing: float, channels: int, like: Tensor, axis: int = 1) -> Tensor:
    """Return per-channel values (or a shared one) in the dtype of `like`, shaped to broadcast along its `axis`."""
    if values is None:
        return like.new_full([1] * like.ndim, missing)
    shape = [1] * like.ndim
    if values.numel() != 1:
        shape[axis] = channels
    return values.to(like.dtype).reshape(shape)


def summed_like(elements: Tensor, like: Tensor, axis: int = 1) -> Tensor:
    """Return the elements summed per channel, or over all if `like` has one entry, in the shape and dtype of `like`."""
    if like.numel() == 1:
        return elements.sum().to(like.dtype).reshape(like.shape)
    dims = [d for d in range(elements.ndim) if d != axis % elements.ndim]
    return (elements.sum(dims) if dims else elements).to(like.dtype).reshape(like.shape)
