"""What a tensor says of each of its units: sums over all dimensions but one, on the tensor's own device.

Only passes that PyTorch vectorises, and none that waits for the device: a comparison and a count of its True values
take several times as long on a CPU as the sum of signs.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXACT = 1 << 24  # up to here float32 counts exactly


def positive(z: Tensor, axis: int) -> Tensor:
    """How many values of each unit are above 0; NaN is not.

    Example:
        >>> positive(torch.tensor([[1.0, -1.0], [2.0, torch.nan]]), 1)
        tensor([2., 0.])
    """
    return _sum(z.sign().clamp_(min=0), axis)


def not_finite(z: Tensor, axis: int) -> Tensor:
    """1 for each unit with a value that is NaN or infinite, or whose values add up to more than its dtype's range.

    Example:
        >>> not_finite(torch.tensor([[1.0, -1.0], [2.0, torch.nan]]), 1)
        tensor([0., 1.])
    """
    return _sum(z, axis).isfinite().logical_not().float()


def reached(gradient: Tensor, axis: int) -> Tensor:
    """1 for each unit in which some value is not 0.

    Example:
        >>> reached(torch.tensor([[0.0, 1e-30], [0.0, -1e-30]]), 1)
        tensor([0., 1.])
    """
    return (_sum(gradient.abs(), axis) != 0).float()  # of squares, the small ones would be 0


def squares(gradient: Tensor, axis: int) -> Tensor:
    """The sum of squares of each unit.

    Example:
        >>> squares(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), 1)
        tensor([10.,  4.])
    """
    wide = gradient if gradient.dtype.itemsize >= 4 else gradient.float()
    return _sum(wide * wide, axis)


def behind(source: Tensor, gradient: Tensor, slopes: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """`squares` and `reached` of dL/dz from dL/dy, for f(z) = z where z > 0, else a·z.

    Args:
        source: has the signs of z.
        gradient: dL/dy.
        slopes: a, one for each unit or one for all.
        axis: the units' dimension.

    Example:
        >>> z, dy = torch.tensor([[1.0, -1.0], [-1.0, -1.0]]), torch.ones(2, 2)
        >>> behind(z, dy, torch.tensor([0.0, 0.5]), 1)
        (tensor([1.0000, 0.5000]), tensor([1., 1.]))
    """
    above = gradient * source.sign().clamp_(min=0).to(gradient.dtype)
    below = gradient - above  # exact: one of the two is 0
    slopes = slopes.detach().float().flatten()
    total = squares(above, axis) + slopes.square() * squares(below, axis)
    any_reached = reached(above, axis).maximum(reached(below, axis) * (slopes != 0))
    return total, any_reached


def _sum(values: Tensor, axis: int) -> Tensor:
    """In float32 where that is exact for counts, and the values need no more."""
    others = [d for d in range(values.ndim) if d != axis % values.ndim]
    if not others:
        return values.float()
    many = values.numel() >= _EXACT * max(1, values.shape[axis])
    wide = values.dtype.itemsize > 4 or (many and values.device.type != "mps")  # which has no float64
    return values.sum(others, dtype=torch.float64 if wide else torch.float32)
