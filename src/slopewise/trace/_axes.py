"""Channel dimension of tensors: known from the layer that made one, and followed through operations.

A shape alone cannot tell: (8, 16, 64) is a batch of signals (N, C, L) behind a Conv1d, of tokens (N, L, C) behind a
Linear. So the last layer that knows decides, and reshaping and permuting carry its dimension along.
"""

from __future__ import annotations

from math import prod

import torch
from torch import nn

from slopewise.trace._data import Axis, OpCall

# How many dimensions of space a layer's input has, and so how far from the end its channels stand.
_SPACE = {
    f"{kind}{n}d": n for kind in ("Conv", "ConvTranspose", "LazyConv", "conv", "conv_transpose") for n in (1, 2, 3)
}
_SECOND = ("BatchNorm", "InstanceNorm", "GroupNorm", "SyncBatchNorm", "batch_norm", "instance_norm", "group_norm")
_LAST = frozenset(
    (
        *("Linear", "LazyLinear", "Bilinear", "LayerNorm", "RMSNorm", "Embedding", "MultiheadAttention", "RNN", "LSTM"),
        *("GRU", "linear", "layer_norm", "rms_norm", "embedding", "matmul", "__matmul__", "mm", "bmm", "addmm"),
        *("baddbmm", "scaled_dot_product_attention"),
    )
)
_SCALES = frozenset(["mul", "imul", "multiply", "div", "true_divide", "truediv", "itruediv"])
_MOVES = frozenset(["permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "__get__"])


def axis_of(op: OpCall, shape: tuple[int, ...]) -> Axis | None:
    """The channels' dimension in an output of this shape; None if nothing says it."""
    dims = len(shape)
    dim = _natural_dim(op.name, dims)
    if dim is not None:
        return Axis(dim, op.name if isinstance(op.module, nn.Module) else f"{op.name}()")
    known = [(value, value.axis) for value in op.inputs if value.axis is not None]
    if not known:
        dim = _scaled(op, shape)
        return None if dim is None else Axis(dim, f"{op.name}()")
    source, axis = next(((value, axis) for value, axis in known if value.shape == shape), known[0])
    if op.name in _MOVES:
        return _moved(op, source.shape, shape, axis)
    if len(source.shape) == dims and (op.name not in ("reshape", "view") or source.shape == shape):
        return axis  # elementwise, pooling, padding, slicing, concatenation, reductions that keep the dimension
    carried = _carried_dim(source.shape, shape, axis.dim)
    return None if carried is None else Axis(carried, axis.evidence)


def _natural_dim(name: str, dims: int) -> int | None:
    """The dimension that a layer or function by its nature gives its channels in."""
    if name in _SPACE:
        return dims - 1 - _SPACE[name]
    if dims > 1 and name.startswith(_SECOND):
        return 1
    return dims - 1 if name in _LAST and dims else None


def _scaled(op: OpCall, shape: tuple[int, ...]) -> int | None:
    """Dimension 1, where constants of shape (C, 1, 1) or (1, C, 1, 1) scale it: normalisation written out."""
    if op.name.strip("_") not in _SCALES or len(op.inputs) != 2 or len(shape) < 3:
        return None
    smaller, larger = sorted((value.shape for value in op.inputs), key=prod)
    sizes = (1,) * (len(shape) - len(smaller)) + smaller
    return 1 if larger == shape and sizes[1] > 1 and prod(sizes) == sizes[1] else None


def _moved(op: OpCall, before: tuple[int, ...], after: tuple[int, ...], axis: Axis) -> Axis | None:
    """Return the dimension to which a permutation moves one, by applying it to a tensor whose dimensions differ."""
    if op.function is None or len(before) != len(after):
        return None
    # On a tensor without storage whose strides name its dimensions, the operation itself says where each one goes.
    probe = torch.empty(before, device="meta").as_strided(before, list(range(1, len(before) + 1)))
    arguments = (probe, *op.args[1:])
    moved = op.function(*arguments, **{key: value for key, value in op.kwargs.items() if key != "input"})
    dim = list(moved.stride()).index(axis.dim + 1)
    return Axis(dim, axis.evidence)


def _carried_dim(before: tuple[int, ...], after: tuple[int, ...], dim: int) -> int | None:
    """The dimension that is as long, and has as many elements before it, as `dim` had."""
    ahead = prod(before[:dim])
    candidates = [d for d, size in enumerate(after) if size == before[dim] and prod(after[:d]) == ahead]
    return candidates[-1] if candidates else None
