"""Checks of slopes before training: uninitialised values, and settings of optimizers that harm them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from slopewise.recording import LARGEST

_SMALLEST = 1e-20  # smaller ones are exactly 0


def absurd_slope(slopes: Tensor) -> float | None:
    """Return the least plausible slope, or None if all may have been initialised or trained.

    Uninitialised memory holds such values: NaN, numbers beyond ±100, and numbers of size below 1e-20 other than 0.

    Example:
        >>> import torch
        >>> absurd_slope(torch.tensor([0.25, -396.0])), absurd_slope(torch.tensor([0.0, 2.3]))
        (-396.0, None)
    """
    if slopes.is_meta:
        return None
    values = _here(slopes).double()
    size = values.abs()
    absurd = values[~(size <= LARGEST) | ((size > 0) & (size < _SMALLEST))]
    return absurd[absurd.abs().argmax()].item() if absurd.numel() else None  # NaN counts as the largest


def all_zero(slopes: Tensor) -> bool:
    """Return True if all slopes that this process holds are 0, which is ReLU."""
    return not slopes.is_meta and not bool(_here(slopes).any())


def _here(slopes: Tensor) -> Tensor:
    """Return the slopes, or this process's part of them, as a flat tensor without a graph."""
    here: Tensor = slopes.to_local() if hasattr(slopes, "to_local") else slopes
    return here.detach().flatten()


def settings_to_doubt(group: Mapping[str, Any], *, zeros: bool) -> Iterator[str]:
    """Yield a message for each setting by which an optimizer will treat slopes unexpectedly.

    Args:
        group: Parameter group of the slopes, with the optimizer's own settings filled in.
        zeros: If True, some layer's slopes are all 0.

    Example:
        >>> list(settings_to_doubt({"lr": 0.1, "relative_step": True}, zeros=False))
        ['the optimizer sets its own rate (relative_step): lr does not count']
    """
    if group.get("relative_step"):
        yield "the optimizer sets its own rate (relative_step): lr does not count"
    if group.get("always_adapt") is False and group.get("weight_decay") == 0:
        yield "without decay this optimizer has no trust ratio (always_adapt=False): lr is that of SGD or Adam"
    if zeros and (group.get("scale_parameter") or "beta2_decay" in group):
        yield "this optimizer scales steps by a parameter's size: from 0 they are tiny"
    if zeros and group.get("grad_averaging") and group.get("adam") is False:  # pytorch_optimizer's Lamb
        yield "this optimizer divides steps by a parameter's size: from 0 the first is some 30 times lr"
