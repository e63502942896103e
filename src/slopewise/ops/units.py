"""Statistics of each unit of a tensor: sums over all dimensions but one, on the tensor's own device.

Results are float64 if the device supports it. None of these functions waits for the device, and none has a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slopewise.ops._library import everywhere, library
from slopewise.ops._routing import KERNEL_DTYPES, below_autograd, kernels_take

_EXACT = 1 << 24  # up to here float32 counts exactly

_signs_op = torch.ops.slopewise.unit_signs.default
_reached_op = torch.ops.slopewise.unit_reached.default
_squares_op = torch.ops.slopewise.unit_squares.default
_behind_op = torch.ops.slopewise.unit_behind.default
_kept_signs_op = torch.ops.slopewise.unit_signs_kept.default
_kept_squares_op = torch.ops.slopewise.unit_squares_kept.default
_kept_behind_op = torch.ops.slopewise.unit_behind_kept.default


@dataclass(frozen=True, slots=True, eq=False)
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


def signs(z: Tensor, axis: int) -> Tensor:
    """Count the signs of each unit's values.

    The result has a column for each unit and three rows: the number of values above 0, the number of NaNs, and 1 if any
    value is not finite. All other values are 0 or below.

    Example:
        >>> signs(torch.tensor([[1.0, -1.0], [2.0, torch.nan]]), 1).tolist()
        [[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    if not kernels_take(z, 0):
        above, broken = _signs(z, axis)
        return torch.stack([above, _nans(z, axis), broken])
    with below_autograd():
        above, broken = _signs_op(z, axis)
        # A second pass over the values only if some are not finite, which a CPU knows without waiting.
        nans = _nans(z, axis) if broken.any() else torch.zeros_like(above)
        return torch.stack([above, nans, broken])


def kept_signs(z: Tensor, axis: int) -> tuple[Tensor, KeptSigns | None]:
    """Return the counts of `signs`, and the signs themselves for later.

    The signs are None where they cannot be kept: without the kernels, if values are not finite or have gaps in memory
    between them, and for a few shapes that would gain little.

    Example:
        >>> counts, kept = kept_signs(torch.tensor([[1.0, -1.0], [2.0, torch.nan]]), 1)
        >>> counts.tolist(), kept
        ([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]], None)
    """
    if not kernels_take(z, 0):
        return signs(z, axis), None
    with below_autograd():
        rows, bits = _kept_signs_op(z, axis)
    if not bits.numel():
        return signs(z, axis), None
    counts = torch.zeros(3, rows.shape[1], dtype=rows.dtype)
    counts[0] = rows[0]
    return counts, KeptSigns(bits, z.shape, z.stride())


def reached(gradient: Tensor, axis: int) -> Tensor:
    """Return 1 for each unit with a value other than 0 (NaN counts as such), and 0 for the others.

    Example:
        >>> reached(torch.tensor([[0.0, 1e-30], [0.0, -1e-30]]), 1).tolist()
        [0.0, 1.0]
    """
    if not kernels_take(gradient, 0):
        return _reached(gradient, axis)
    with below_autograd():
        return _reached_op(gradient, axis)  # type: ignore[no-any-return]


def squares(gradient_z: Tensor, gradient_y: Tensor, axis: int) -> Tensor:
    """Return the sums of squares of dL/dz and of dL/dy, in two rows with a column for each unit.

    Squares are computed in float32 (in float64 for float64 tensors); in float32, those of values below 1e-19 lose
    precision and vanish.

    Example:
        >>> squares(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]]), 1).tolist()
        [[1.0, 4.0], [4.0, 16.0]]
    """
    if not (kernels_take(gradient_z, 0) and kernels_take(gradient_y, 0)):
        return _squares(gradient_z, gradient_y, axis)
    with below_autograd():
        return _squares_op(gradient_z, gradient_y, axis)  # type: ignore[no-any-return]


def kept_squares(kept: KeptSigns, gradient_y: Tensor, axis: int) -> Tensor:
    """Return `squares` behind and before a ReLU, without dL/dz: it is dL/dy where z > 0, else 0.

    Args:
        kept: Signs of z, which fit the gradient.
        gradient_y: Gradient dL/dy.
        axis: Dimension of the units.
    """
    with below_autograd():
        return _kept_squares_op(kept.bits, gradient_y, axis)  # type: ignore[no-any-return]


def behind(source: Tensor, gradient_y: Tensor, slopes: Tensor, axis: int) -> Tensor:
    """Return `reached` of dL/dz and the two rows of `squares`, without dL/dz, for f(z) = z where z > 0, else a·z.

    Args:
        source: Tensor with the signs of z.
        gradient_y: Gradient dL/dy.
        slopes: Slopes a, one for each unit or one for all.
        axis: Dimension of the units.

    Example:
        >>> z, dy = torch.tensor([[1.0, -1.0], [-1.0, -1.0]]), torch.ones(2, 2)
        >>> behind(z, dy, torch.tensor([0.0, 0.5]), 1).tolist()
        [[1.0, 1.0], [1.0, 0.5], [2.0, 2.0]]
    """
    same_type = source.dtype is gradient_y.dtype and slopes.dtype in KERNEL_DTYPES
    if not (same_type and kernels_take(source, 0) and kernels_take(gradient_y, 0) and slopes.is_cpu):
        return _behind(source, gradient_y, slopes, axis)
    with below_autograd():
        return _behind_op(source, gradient_y, slopes, axis)  # type: ignore[no-any-return]


def kept_behind(kept: KeptSigns, gradient_y: Tensor, slopes: Tensor, axis: int) -> Tensor:
    """Return `behind`, with kept signs in place of the tensor."""
    if not kept.fit(gradient_y):
        gradient_y = gradient_y.new_empty_strided(kept.shape, kept.strides).copy_(gradient_y)
    with below_autograd():
        return _kept_behind_op(kept.bits, gradient_y, slopes, axis)  # type: ignore[no-any-return]


@everywhere("unit_signs")
def _signs(z: Tensor, axis: int) -> Tensor:
    broken = _sum(z - z, axis) != 0  # NaN if some value is not finite
    return torch.stack([_sum(_positive(z), axis), broken.to(_wide(z))])


@everywhere("unit_reached")
def _reached(grad: Tensor, axis: int) -> Tensor:
    return (_sum(grad.abs(), axis) != 0).to(_wide(grad))  # squares of small values would be 0


@everywhere("unit_squares")
def _squares(grad_z: Tensor, grad_y: Tensor, axis: int) -> Tensor:
    return torch.stack([_squared(grad_z, axis), _squared(grad_y, axis)])


@everywhere("unit_behind")
def _behind(source: Tensor, grad_y: Tensor, slopes: Tensor, axis: int) -> Tensor:
    positive = _positive(source).to(grad_y.dtype)
    # The only selection that PyTorch vectorises: the first argument where the second is above 0.
    above, below = (torch.ops.aten.threshold_backward(grad_y, where, 0) for where in (positive, 1 - positive))
    slopes = slopes.flatten().to(_wide(grad_y))
    square_above, square_below = _squares(above, below, axis)
    any_reached = _reached(above, axis).maximum(_reached(below, axis) * (slopes != 0))
    return torch.stack([any_reached, square_above + slopes.square() * square_below, square_above + square_below])


def _signs_kept(z: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return _signs(z, axis), z.new_empty(0, dtype=torch.uint8)  # only the kernels keep signs


def _fake_signs_kept(z: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return _signs(z, axis), z.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.uint8)


def _fake_squares_kept(kept: Tensor, grad_y: Tensor, axis: int) -> Tensor:  # noqa: ARG001
    return grad_y.new_empty(2, grad_y.shape[axis], dtype=torch.float64)


def _fake_behind_kept(kept: Tensor, grad_y: Tensor, slopes: Tensor, axis: int) -> Tensor:  # noqa: ARG001
    return grad_y.new_empty(3, grad_y.shape[axis], dtype=torch.float64)


library.impl("unit_signs_kept", _signs_kept, "CompositeExplicitAutograd")
torch.library.register_fake("slopewise::unit_signs_kept", _fake_signs_kept, lib=library)
torch.library.register_fake("slopewise::unit_squares_kept", _fake_squares_kept, lib=library)
torch.library.register_fake("slopewise::unit_behind_kept", _fake_behind_kept, lib=library)


def _nans(values: Tensor, axis: int) -> Tensor:
    return _sum(values.isnan().float(), axis)


def _positive(values: Tensor) -> Tensor:
    """Return 1 where a value is above 0, else 0: on a CPU several times as fast as comparing and counting True."""
    return values.sign().clamp_(min=0)


def _squared(gradient: Tensor, axis: int) -> Tensor:
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
