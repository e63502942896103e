"""Kind of a function of one number, by what it computes, however it is written."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.activations._kinds import NAMED, Kind, ScaledSiLU

_CLOSE = 1e-8
_CLOSE_GELU = 2e-5  # its constants are often rounded; its approximations are 5e-4 and more away from it


@cache
def grid() -> Tensor:
    """Return the numbers that functions are tried on, with 0 in their middle.

    Example:
        >>> grid().shape, grid()[240].item()
        (torch.Size([485]), 0.0)
    """
    inner = torch.linspace(-12.0, 12.0, 481, dtype=torch.float64)
    inner[240] = 0.0
    return torch.cat([inner, torch.tensor([-40.0, -20.0, 20.0, 40.0], dtype=torch.float64)])


def identify(values: Tensor, *, inplace: bool = False) -> tuple[Kind, nn.Module] | None:
    """Return the activation that has these values on `grid()`, as its kind and a module that computes it.

    Args:
        values: f(x) for every x of the grid.
        inplace: Flag of the new module, if its class has one.

    Returns:
        Kind and module; None for a function that is none of these.

    Example:
        >>> x = grid()
        >>> identify((x + x.abs()) / 2)[1], identify(x * torch.sigmoid(x))[1], identify(x.sin())
        (ReLU(), SiLU(), None)
    """
    y = values.detach().double()
    if y.shape != grid().shape or not bool(y.isfinite().all()):
        return None
    for name, module in _candidates(y):
        close = _CLOSE_GELU if name == "gelu" and y[240] == 0.0 else _CLOSE
        with torch.no_grad():
            target = module(grid().clone())
        if torch.allclose(y, target, rtol=close, atol=close):
            new: Any = copy.deepcopy(module)
            if hasattr(new, "inplace"):
                new.inplace = inplace
            return NAMED[name], new
    return None


def is_linear(values: Tensor) -> bool:
    """Return True if values on `grid()` are those of a straight line, or constant.

    Example:
        >>> is_linear(3 * grid() - 1), is_linear(grid().relu())
        (True, False)
    """
    x, y = grid(), values.detach().double()
    slope, at_0 = (y[340] - y[140]) / (x[340] - x[140]), y[240]
    return torch.allclose(y, slope * x + at_0, rtol=1e-4, atol=1e-4)


def of_function(function: Callable[[Tensor], Tensor], *, inplace: bool = False) -> tuple[Kind, nn.Module] | None:
    """Return the activation that a function computes element by element.

    Example:
        >>> of_function(nn.Hardtanh(0.0, 6.0))[0].name
        'relu6'
    """
    with torch.no_grad():
        values = function(grid().clone())
    return identify(values, inplace=inplace) if isinstance(values, Tensor) else None


def _candidates(y: Tensor) -> Iterator[tuple[str, nn.Module]]:
    """Yield activations with the settings that fit the values."""
    at = {n: float(y[240 + 20 * n]) for n in (-2, -1, 1, 2)}  # y at whole numbers
    yield "relu", nn.ReLU()
    # Not the identity, nor ReLU, nor abs: that is a size, as normalisations take it.
    if min(abs(at[-1] - end) for end in (-1.0, 0.0, 1.0)) > _CLOSE:
        yield "leaky_relu", nn.LeakyReLU(-at[-1])
    low, high = float(y.min()), float(y.max())
    if low == 0.0 and 0.0 < high < 40.0:
        yield ("relu6", nn.ReLU6()) if high == 6.0 else ("clipped_relu", nn.Hardtanh(0.0, high))
    yield from _SHAPES
    yield "elu", nn.ELU(at[-1] / math.expm1(-1.0))
    if low < 0.0:
        yield "celu", nn.CELU(-low)
    if 0.0 < at[1] < 1.0:
        yield "scaled_silu", ScaledSiLU(round(math.log(at[1] / (1.0 - at[1])), 9))
    if -12.0 < low < 0.0 < high < 12.0:
        yield "hardtanh", nn.Hardtanh(low, high)
    if y[240] > 0.0:
        yield "softplus", nn.Softplus(math.log(2.0) / float(y[240]))


_SHAPES: tuple[tuple[str, nn.Module], ...] = (
    ("silu", nn.SiLU()),
    ("gelu", nn.GELU()),
    ("gelu", nn.GELU("tanh")),
    ("hardswish", nn.Hardswish()),
    ("mish", nn.Mish()),
    ("selu", nn.SELU()),
    ("sigmoid", nn.Sigmoid()),
    ("hardsigmoid", nn.Hardsigmoid()),
    ("tanh", nn.Tanh()),
    ("softsign", nn.Softsign()),
    ("logsigmoid", nn.LogSigmoid()),
    ("tanhshrink", nn.Tanhshrink()),
)
