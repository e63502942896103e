"""Helpers of the layers with slopes: checks of arguments, initial values, and bounds enforced by projection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor

Init = float | Iterable[float] | Tensor
Bounds = tuple[float, float]
SharedGradient = Literal["sum", "mean"]  # over the channels that share a slope


def checked_count(num_parameters: int | None, channels: int, name: str) -> int:
    """Return the number of slopes, None being one for each channel; `name` is the argument that gives `channels`."""
    if num_parameters not in (None, 1, channels):
        raise ValueError(
            f"num_parameters={num_parameters} does not fit {name}={channels}: pass 1 for a shared slope, or leave it "
            f"out for one slope per channel"
        )
    return channels if num_parameters is None else num_parameters


def checked_gradient(shared_gradient: SharedGradient) -> SharedGradient:
    """Return `shared_gradient` if it is a rule for the gradient of a shared slope."""
    if shared_gradient not in get_args(SharedGradient):
        raise ValueError(f"shared_gradient must be 'mean' or 'sum', got {shared_gradient!r}")
    return shared_gradient


def checked_bounds(bounds: Bounds | None) -> Bounds | None:
    """Return `bounds` as an increasing pair of floats, or None."""
    if bounds is None:
        return None
    ends = tuple(map(float, bounds))
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"bounds must be (lowest, highest) with lowest < highest, got {bounds}")
    return ends[0], ends[1]


def checked_init(init: Init, num_parameters: int, bounds: Bounds | None) -> float | tuple[float, ...]:
    """Return `init` as one number if all slopes start equal, otherwise as a tuple of `num_parameters` numbers."""
    values = init.tolist() if isinstance(init, Tensor) else init
    try:
        numbers = tuple(map(float, values if isinstance(values, Iterable) else [values] * num_parameters))
    except TypeError:
        raise ValueError(
            f"init must be a number or a flat sequence of num_parameters={num_parameters} numbers, got {init}"
        ) from None
    if len(numbers) != num_parameters:
        raise ValueError(
            f"init has {len(numbers)} values for num_parameters={num_parameters}: pass one number or {num_parameters}"
        )
    for number in numbers:
        if bounds and not bounds[0] <= number <= bounds[1]:
            raise ValueError(f"init {number} lies outside bounds={bounds}")
    return numbers if len(set(numbers)) > 1 else numbers[0]


def initialise_(slopes: Tensor, init: float | tuple[float, ...]) -> None:
    """Set the slopes to the values that `checked_init` returned."""
    with torch.no_grad():
        if isinstance(init, tuple):
            slopes.copy_(torch.tensor(init, dtype=slopes.dtype))
        else:
            slopes.fill_(init)


def project_(slopes: Tensor, bounds: Bounds | None) -> None:
    """Move slopes outside the bounds to the nearest bound, in place. Without bounds this does nothing."""
    if bounds is not None:
        slopes.detach().clamp_(*bounds)


def slopes_in_use(slopes: Tensor, bounds: Bounds | None, *, training: bool) -> Tensor:
    """Return the slopes to apply: within the bounds, whatever an optimizer did to the parameter."""
    if bounds is None:
        return slopes
    if training and not torch.compiler.is_exporting():  # an exported program must not move its parameters
        project_(slopes, bounds)
    # A new tensor, never the parameter itself: the next call may project that before this call's backward pass.
    # Its gradient is passed straight through to the parameter: clamp's would be 0 outside the bounds, and a slope
    # trained in evaluation mode would never return into them.
    return slopes.clamp(*bounds).detach() + (slopes - slopes.detach())


def averaged(slope: Tensor, channels: int) -> Tensor:
    """Return the slope, bit for bit, with a gradient that is divided by the number of channels that share it."""
    if not torch.is_grad_enabled() or torch.compiler.is_exporting():
        return slope
    return torch.lerp(slope.detach(), slope, 1 / channels)
