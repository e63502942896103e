"""What a tensor says of each of its units: sums over all dimensions but one, on the tensor's own device.

Only passes that PyTorch vectorises, and none that waits for the device: a comparison and a count of its True values
take several times as long on a CPU as the sum of signs.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXACT = 1 << 24  # up to here float32 counts exactly


def signs(z: Tensor, axis: int) -> Tensor:
    """Two rows, a column for each unit: how many values are above 0 (NaN is not), and whether some are not finite.

    Values whose sum exceeds the range of their dtype count as not finite.

    Example:
        >>> signs(torch.tensor([[1.0, -1.0], [2.0, torch.nan]]), 1)
        tensor([[2., 0.],
                [0., 1.]])
    """
    return torch.stack([_sum(z.sign().clamp_(min=0), axis), _sum(z, axis).isfinite().logical_not().float()])


def reached(gradient: Tensor, axis: int) -> Tensor:
    """1 for each unit in which some value is not 0.

    Example:
        >>> reached(torch.tensor([[0.0, 1e-30], [0.0, -1e-30]]), 1)
        tensor([0., 1.])
    """
    return (_sum(gradient.abs(), axis) != 0).float()  # of squares, the small ones would be 0


def squares(gradient_z: Tensor, gradient_y: Tensor, axis: int) -> Tensor:
    """Two rows, a column for each unit: the sums of squares of dL/dz and of dL/dy.

    Example:
        >>> squares(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]]), 1)
        tensor([[ 1.,  4.],
                [ 4., 16.]])
    """
    return torch.stack([_squares(gradient_z, axis), _squares(gradient_y, axis)])


def behind(source: Tensor, gradient_y: Tensor, slopes: Tensor, axis: int) -> Tensor:
    """Three rows: `reached` of dL/dz, and `squares`, where f(z) = z for z > 0, else a·z, and dL/dz is not at hand.

    Args:
        source: has the signs of z.
        gradient_y: dL/dy.
        slopes: a, one for each unit or one for all.
        axis: the units' dimension.

    Example:
        >>> z, dy = torch.tensor([[1.0, -1.0], [-1.0, -1.0]]), torch.ones(2, 2)
        >>> behind(z, dy, torch.tensor([0.0, 0.5]), 1)
        tensor([[1.0000, 1.0000],
                [1.0000, 0.5000],
                [2.0000, 2.0000]])
    """
    above = gradient_y * source.sign().clamp_(min=0).to(gradient_y.dtype)
    below = gradient_y - above  # exact: one of the two is 0
    slopes = slopes.detach().float().flatten()
    square_above, square_below = squares(above, below, axis)
    any_reached = reached(above, axis).maximum(reached(below, axis) * (slopes != 0))
    return torch.stack([any_reached, square_above + slopes.square() * square_below, square_above + square_below])


def _squares(gradient: Tensor, axis: int) -> Tensor:
    wide = gradient if gradient.dtype.itemsize >= 4 else gradient.float()
    return _sum(wide * wide, axis)


def _sum(values: Tensor, axis: int) -> Tensor:
    """In float32 where that is exact for counts, and the values need no more."""
    others = [d for d in range(values.ndim) if d != axis % values.ndim] if values.ndim else []
    if not others:
        return values.float().reshape(-1)
    many = values.numel() >= _EXACT * max(1, values.shape[axis])
    wide = values.dtype.itemsize > 4 or (many and values.device.type != "mps")  # which has no float64
    return values.sum(others, dtype=torch.float64 if wide else torch.float32)
