"""The first two moments of an activation's output, for an input that is taken as normally distributed.

Moments are a float64 tensor (2, C): E[x] and E[x²] of each channel; C is 1 if all channels have the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_STEPS = torch.linspace(-10.0, 10.0, 2001, dtype=torch.float64)  # includes 0, where most kinks are
_WEIGHTS = torch.exp(-(_STEPS**2) / 2) / torch.exp(-(_STEPS**2) / 2).sum()


def gain(slopes: float | Iterable[float] | Tensor) -> float:
    """Return Kaiming's gain for a layer that follows an activation with these negative slopes.

    gain = sqrt(2 / (1 + a²)), where a² is the mean of the squares over the channels, since each unit of the layer sums
    over all of them. It is √2 for ReLU, and 1 for the identity (a = 1).

    Args:
        slopes: Slope of the activation, or one slope for each channel.

    Source: He et al. 2015, section 2.2, https://arxiv.org/abs/1502.01852.

    Example:
        >>> round(gain(0.25), 4), round(gain([0.0, 1.0]), 4)
        (1.372, 1.1547)
    """
    values = torch.as_tensor(slopes if isinstance(slopes, (int, float, Tensor)) else list(slopes), dtype=torch.float64)
    return math.sqrt(2.0 / (1.0 + float(values.square().mean())))


def unit() -> Tensor:
    """Return the moments of mean 0 and variance 1 in all channels."""
    return torch.tensor([[0.0], [1.0]], dtype=torch.float64)


def fit(values: Tensor, channels: int | None) -> Tensor:
    """Fit values per channel, in the last dimension, to another number of channels; None is any number.

    Flattening (C, H, W) repeats every channel H·W times in a row; the reverse takes means. If neither explains the
    number, the channels were mixed, and all get the mean.
    """
    known = values.shape[-1]
    if channels is None or known in (1, channels):
        return values
    if channels % known == 0:
        return values.repeat_interleave(channels // known, -1)
    if known % channels == 0:
        return values.reshape(*values.shape[:-1], channels, -1).mean(-1)
    return values.mean(-1, keepdim=True)


def through_slopes(moments: Tensor, slopes: Tensor) -> Tensor:
    """Return the moments of f(x) = x where x > 0, else a·x; for mean 0, ½(1 + a²) times the second moment."""
    mean, square = moments
    share, density, deviation = _positive(moments)
    first = mean * share + deviation * density  # of x where x > 0, else 0
    second = square * share + mean * deviation * density
    return torch.stack([first + slopes * (mean - first), second + slopes**2 * (square - second)])


def gradient_through_slopes(moments: Tensor, slopes: Tensor) -> Tensor:
    """Return E[f'(x)²], (C), for f(x) = x where x > 0, else a·x; for mean 0, ½(1 + a²)."""
    share, _, _ = _positive(moments)
    return share + slopes**2 * (1 - share)


def through(moments: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the moments of any other elementwise function, by numerical integration."""
    distinct, back = _distinct(moments)
    values = function(_points(distinct))
    expected = torch.stack([values @ _WEIGHTS, values.square() @ _WEIGHTS])
    return expected[:, back]


def gradient_through(moments: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return E[f'(x)²], (C), of any other elementwise function, by numerical integration."""
    distinct, back = _distinct(moments)
    with torch.enable_grad():
        points = _points(distinct).requires_grad_()
        (slopes,) = torch.autograd.grad(function(points.clone()).sum(), points)
    expected: Tensor = slopes.square() @ _WEIGHTS
    return expected[back]


def _distinct(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct moments, since most channels have the same, and the index of each channel's among them."""
    distinct, back = torch.unique(moments, dim=1, return_inverse=True)
    return distinct, back


def _points(moments: Tensor) -> Tensor:
    mean, square = moments[0], moments[1]
    return mean[:, None] + (square - mean**2).clamp(min=0).sqrt()[:, None] * _STEPS


def _positive(moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return P(x > 0), the standard normal density at mean / deviation, and the deviation."""
    mean, square = moments
    deviation = (square - mean**2).clamp(min=0).sqrt()
    z = mean / deviation.clamp(min=torch.finfo(mean.dtype).tiny)
    return torch.special.ndtr(z), torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), deviation
