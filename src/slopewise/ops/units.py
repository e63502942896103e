"""Statistics of each unit of a tensor: sums over all dimensions but one, on the tensor's own device.

The functions add to a matrix with a column for each unit and six rows:

    0  number of pre-activations z above 0
    1  number of those that are NaN
    2  above 0 if any is not finite
    3  above 0 if any value of the gradient dL/dz is not 0 (NaN counts as such)
    4  sum of squares of dL/dz
    5  sum of squares of dL/dy, y the activation's output

Squares are computed in float32 (in float64 for float64 tensors); in float32, those of values below 1e-19 lose precision
and vanish. None of the functions waits for the device, and none has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slopewise.ops._library import library
from slopewise.ops._routing import KERNEL_DTYPES, below_autograd, kernels_take

ROWS = 6
_EXACT = 1 << 24  # up to here float32 counts exactly

_signs_op = torch.ops.slopewise.add_unit_signs.default
_reached_op = torch.ops.slopewise.add_unit_reached.default
_squares_op = torch.ops.slopewise.add_unit_squares.default
_behind_op = torch.ops.slopewise.add_unit_behind.default
_squares_kept_op = torch.ops.slopewise.add_unit_squares_kept.default
_behind_kept_op = torch.ops.slopewise.add_unit_behind_kept.default


@dataclass(slots=True, eq=False)
class KeptSigns:
    """Signs of a tensor as bits, which stand for it when its gradients come: they take a small part of its memory.

    Attributes:
        bits: The signs, in the order of the tensor's memory.
        shape: Shape of the tensor.
        strides: Strides of the tensor.
    """

    bits: Tensor
    shape: torch.Size
    strides: tuple[int, ...]

    def fit(self, gradient: Tensor) -> bool:
        """Return True if a gradient has its values in the same order in memory, as the kernels need it."""
        return gradient.stride() == self.strides and gradient.shape == self.shape and kernels_take(gradient, 0)


def new_sums(units: int, like: Tensor) -> Tensor:
    """Return a matrix of zeros for so many units, on a tensor's device: float64 if the device supports it.

    Example:
        >>> new_sums(2, torch.zeros(1)).shape
        torch.Size([6, 2])
    """
    return torch.zeros(ROWS, units, dtype=_wide(like), device=like.device)


def add_signs(sums: Tensor, z: Tensor, axis: int, *, keep: bool = False) -> KeptSigns | None:
    """Count the signs of each unit's values, and return them if `keep` is True and they can be kept.

    They cannot be kept without the kernels, if values are not finite or have gaps in memory between them, and for a few
    shapes that would gain little.

    Example:
        >>> sums = new_sums(2, torch.zeros(1))
        >>> add_signs(sums, torch.tensor([[1.0, -1.0], [2.0, torch.nan]]), 1)
        >>> sums[:3].tolist()
        [[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    if not kernels_take(z, 0):
        _add_signs(sums, z, axis)
        return None
    with below_autograd():
        bits = _signs_op(sums, z, axis, keep)
    return KeptSigns(bits, z.shape, z.stride()) if keep and bits.numel() else None


def add_reached(sums: Tensor, gradient: Tensor, axis: int) -> None:
    """Add 1 for each unit that the gradient dL/dz reaches.

    Example:
        >>> sums = new_sums(2, torch.zeros(1))
        >>> add_reached(sums, torch.tensor([[0.0, 1e-30], [0.0, -1e-30]]), 1)
        >>> sums[3].tolist()
        [0.0, 1.0]
    """
    if not kernels_take(gradient, 0):
        _add_reached(sums, gradient, axis)
        return
    with below_autograd():
        _reached_op(sums, gradient, axis)


def add_squares(sums: Tensor, gradient_z: Tensor | None, gradient_y: Tensor | None, axis: int) -> None:
    """Add the squares of dL/dz and of dL/dy, of which either may be None.

    Example:
        >>> sums = new_sums(2, torch.zeros(1))
        >>> add_squares(sums, torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]]), 1)
        >>> sums[4:].tolist()
        [[1.0, 4.0], [4.0, 16.0]]
    """
    if not all(gradient is None or kernels_take(gradient, 0) for gradient in (gradient_z, gradient_y)):
        _add_squares(sums, gradient_z, gradient_y, axis)
        return
    with below_autograd():
        _squares_op(sums, gradient_z, gradient_y, axis)


def add_squares_kept(sums: Tensor, kept: KeptSigns, gradient_y: Tensor, axis: int) -> None:
    """Do `add_squares` behind and before a ReLU, without dL/dz: it is dL/dy where z > 0, else 0.

    Args:
        sums: Sums to add to.
        kept: Signs of z, which fit the gradient.
        gradient_y: Gradient dL/dy.
        axis: Dimension of the units.
    """
    with below_autograd():
        _squares_kept_op(sums, kept.bits, gradient_y, axis)


def add_behind(sums: Tensor, source: Tensor | KeptSigns, gradient_y: Tensor, slopes: Tensor, axis: int) -> None:
    """Do `add_reached` and `add_squares` without dL/dz, for f(z) = z where z > 0, else a·z.

    Args:
        sums: Sums to add to.
        source: Signs of z, or a tensor that has them.
        gradient_y: Gradient dL/dy.
        slopes: Slopes a, one for each unit or one for all.
        axis: Dimension of the units.

    Example:
        >>> z, dy = torch.tensor([[1.0, -1.0], [-1.0, -1.0]]), torch.ones(2, 2)
        >>> add_behind(sums := new_sums(2, z), z, dy, torch.tensor([0.0, 0.5]), 1)
        >>> sums[3:].tolist()
        [[1.0, 1.0], [1.0, 0.5], [2.0, 2.0]]
    """
    if isinstance(source, KeptSigns):
        if not source.fit(gradient_y):
            gradient_y = gradient_y.new_empty_strided(source.shape, source.strides).copy_(gradient_y.detach())
        with below_autograd():
            _behind_kept_op(sums, source.bits, gradient_y, slopes, axis)
        return
    same_type = source.dtype is gradient_y.dtype and slopes.dtype in KERNEL_DTYPES
    if not (same_type and kernels_take(source, 0) and kernels_take(gradient_y, 0) and slopes.is_cpu):
        _add_behind(sums, source, gradient_y, slopes, axis)
        return
    with below_autograd():
        _behind_op(sums, source, gradient_y, slopes, axis)


@torch.no_grad()
def _add_signs(sums: Tensor, z: Tensor, axis: int, keep: bool = False) -> Tensor:  # noqa: ARG001
    broken = _sum(z - z, axis) != 0  # NaN if some value is not finite
    sums[:3] += torch.stack([_sum(_positive(z), axis), _sum(z.isnan().float(), axis), broken.to(_wide(z))])
    return z.new_empty((0,), dtype=torch.uint8)  # only the kernels keep signs


@torch.no_grad()
def _add_reached(sums: Tensor, grad: Tensor, axis: int) -> None:
    sums[3] += _reached(grad, axis)


@torch.no_grad()
def _add_squares(sums: Tensor, grad_z: Tensor | None, grad_y: Tensor | None, axis: int) -> None:
    for row, gradient in ((4, grad_z), (5, grad_y)):
        if gradient is not None:
            sums[row] += _squares(gradient, axis)


@torch.no_grad()
def _add_behind(sums: Tensor, source: Tensor, grad_y: Tensor, slopes: Tensor, axis: int) -> None:
    positive = _positive(source).to(grad_y.dtype)
    # The only selection that PyTorch vectorises: the first argument where the second is above 0.
    above, below = (torch.ops.aten.threshold_backward(grad_y, where, 0) for where in (positive, 1 - positive))
    slopes = slopes.flatten().to(_wide(grad_y))
    square_above, square_below = _squares(above, axis), _squares(below, axis)
    reached = _reached(above, axis).maximum(_reached(below, axis) * (slopes != 0))
    sums[3:] += torch.stack([reached, square_above + slopes.square() * square_below, square_above + square_below])


def _fake_signs(sums: Tensor, z: Tensor, axis: int, keep: bool) -> Tensor:
    _add_signs(sums, z, axis)
    size = torch.library.get_ctx().new_dynamic_size() if keep else 0
    return z.new_empty((size,), dtype=torch.uint8)


def _fake_kept(*_: Any) -> None:
    """Do nothing: kept signs have no shape to check, and there is no result."""


def _everywhere(name: str, function: Callable[..., Any], fake: Callable[..., Any] | None = None) -> None:
    library.impl(name, function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"slopewise::{name}", fake or function, lib=library)


_everywhere("add_unit_signs", _add_signs, _fake_signs)
_everywhere("add_unit_reached", _add_reached)
_everywhere("add_unit_squares", _add_squares)
_everywhere("add_unit_behind", _add_behind)
for _name in ("add_unit_squares_kept", "add_unit_behind_kept"):
    torch.library.register_fake(f"slopewise::{_name}", _fake_kept, lib=library)


def _positive(values: Tensor) -> Tensor:
    """Return 1 where a value is above 0, else 0: on a CPU several times as fast as comparing and counting True."""
    return values.sign().clamp_(min=0)


def _reached(grad: Tensor, axis: int) -> Tensor:
    return (_sum(grad.abs(), axis) != 0).to(_wide(grad))  # squares of small values would be 0


def _squares(gradient: Tensor, axis: int) -> Tensor:
    wide = gradient if gradient.dtype.itemsize >= 4 else gradient.float()
    return _sum(wide * wide, axis)


def _sum(values: Tensor, axis: int) -> Tensor:
    """Sum over all dimensions but `axis`, in float32 if that is exact for counts and the values need no more."""
    dims = [d for d in range(values.ndim) if d != axis % values.ndim] if values.ndim else []
    if not dims:
        return values.reshape(-1).to(_wide(values))
    many = values.numel() >= _EXACT * max(1, values.shape[axis])
    narrow = values.dtype.itemsize <= 4 and not many
    return values.sum(dims, dtype=torch.float32 if narrow else _wide(values)).to(_wide(values))


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64  # mps has no float64
