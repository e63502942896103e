"""The rule for the gradient of a slope that all channels of a layer share: their sum, or their mean."""

from __future__ import annotations

from typing import get_args

import torch

from slopewise.errors import SlopewiseWarning
from slopewise.modules import parameters_of, role
from slopewise.nn import BatchNormPReLU, PReLU, SharedGradient
from slopewise.support import need_not_warn, warn_once

_SUMS = "param_groups: gradients are summed"  # topic of the warning


def set_shared_gradient(model: torch.nn.Module, shared_gradient: SharedGradient) -> dict[str, SharedGradient]:
    """Set the rule for the gradient of every slope of a model that all channels of its layer share.

    Such a slope accumulates C times the gradient of a slope per channel, for C channels, and can diverge at learning
    rates that suit everything else. "mean" divides its gradient by C, which is read in each forward pass; "sum" is
    PyTorch's. In SGD, "mean" has the effect of a learning rate divided by C; optimizers that divide by the gradient's
    own size (Adam) take the same steps either way.

    The rule is the layers' argument `shared_gradient`. A `torch.nn.PReLU` has none and always sums: replace it by a
    `slopewise.PReLU`, as `slopewise.convert` does.

    Args:
        model: Model whose layers are set, in place.
        shared_gradient: Rule for the gradient, "mean" or "sum".

    Returns:
        Rule in effect by the path of each layer with one shared slope.

    Raises:
        ValueError: `shared_gradient` is neither "mean" nor "sum".

    Example:
        >>> import slopewise as sw
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), sw.PReLU(), torch.nn.PReLU())
        >>> set_shared_gradient(model, "mean")
        {'1': 'mean', '2': 'sum'}
        >>> groups = sw.param_groups(model, lr=0.1)
    """
    if shared_gradient not in get_args(SharedGradient):
        raise ValueError(f"shared_gradient must be 'mean' or 'sum', got {shared_gradient!r}")
    layers = {
        path: layer
        for path, layer, name, _ in parameters_of(model)
        if role(layer, name) == "slope" and getattr(layer, "num_parameters", 0) == 1
    }
    need_not_warn(_SUMS)  # whoever sets the rule knows of it
    for layer in layers.values():
        if isinstance(layer, PReLU | BatchNormPReLU):
            layer.shared_gradient = shared_gradient
    return {path: rule(layer) for path, layer in layers.items()}


def can_average(layer: torch.nn.Module) -> bool:
    """Return True for a layer whose rule can be set; PyTorch's own PReLU always sums."""
    return isinstance(layer, PReLU | BatchNormPReLU)


def rule(layer: torch.nn.Module) -> SharedGradient:
    """Return the rule in effect for a layer with one shared slope."""
    return layer.shared_gradient if isinstance(layer, PReLU | BatchNormPReLU) else "sum"


def warn_of_sums(path: str, stacklevel: int) -> None:
    """Warn once per process of a layer that sums its gradient, where earlier versions set the mean unasked."""
    warn_once(
        _SUMS,
        f"'{path}' sums the gradient of its one slope over all channels, which can diverge; earlier versions of "
        "param_groups set the mean. Call slopewise.set_shared_gradient(model, 'mean') first, or with 'sum' to keep the "
        "sum",
        SlopewiseWarning,
        stacklevel=stacklevel + 1,
    )
