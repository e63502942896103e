"""The PReLU layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.types import Device

from slopewise.nn import functional
from slopewise.nn._slopes import (
    Bounds,
    Init,
    SharedGradient,
    averaged,
    checked_bounds,
    checked_gradient,
    checked_init,
    initialise_,
    project_,
    slopes_in_use,
)


class PReLU(torch.nn.PReLU):
    """ReLU whose negative slope is learned: f(x) = x where x > 0, else a·x.

    A subclass of `torch.nn.PReLU` with the same state_dict (one key, `weight`, shape (num_parameters,)), so that
    checkpoints load from one into the other with ``strict=True``. See `slopewise.nn.functional.prelu` for the
    gradients and the accepted dtypes.

    Bounds are enforced by projection. An optimizer's step may move a slope beyond a bound; the next forward pass in
    training mode, `state_dict` or `project_` moves it, in place, to the bound. Every output uses slopes within the
    bounds, also in evaluation mode, where the parameter itself is not changed. The parameter's gradient is that of
    the slope in use, also at a bound, so that a slope can always return into the bounds.

    Args:
        num_parameters: Number of slopes: 1 for one shared by the whole layer, or the number of channels.
        init: Initial slopes: one number for all, or `num_parameters` numbers.
        device: Device of the slopes, as in PyTorch.
        dtype: Dtype of the slopes, as in PyTorch.
        channel_dim: Dimension of the input that holds the channels; negative values count from the end.
        bounds: Lowest and highest slope, both included; None for no bounds. Either may be infinite.
        low_memory: If True, the output is kept for the backward pass instead of the input, where that is safe; see
            `slopewise.nn.functional.prelu`.
        shared_gradient: Reduction of a shared slope's gradient. "sum" is PyTorch's sum over all elements; "mean"
            divides it by the number of channels (the size of `channel_dim`), so that a step of SGD moves the slope like
            the mean of slopes per channel instead of that many times as far. Layers with several slopes ignore it.
            `slopewise.set_shared_gradient` sets it on all layers of a model. Like the other arguments, it stays with
            the module when that is copied, pickled or converted, and is not in the state_dict.

    Shape:
        Input: any shape. With more than one slope, dimension `channel_dim` has size `num_parameters`. Output: the
        input's shape.

    Raises:
        ValueError: `num_parameters` is not positive, `init` has the wrong number of values, `bounds` is not an
            increasing pair, or `init` lies outside it. From the forward pass: the input's channels do not fit.

    Example:
        >>> layer = PReLU(3, init=[0.0, 0.25, 0.5])
        >>> layer(-torch.ones(1, 3)).tolist()
        [[-0.0, -0.25, -0.5]]
    """

    init: float | tuple[float, ...]  # type: ignore[assignment]  # torch.nn.PReLU takes only one number
    shared_gradient: SharedGradient = "sum"  # of layers pickled by a version that did not store it

    def __init__(
        self,
        num_parameters: int = 1,
        init: Init = 0.25,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        channel_dim: int = 1,
        bounds: Bounds | None = None,
        low_memory: bool | None = False,
        shared_gradient: SharedGradient = "sum",
    ) -> None:
        if num_parameters < 1:
            raise ValueError(f"num_parameters must be 1 or the number of channels, got {num_parameters}")
        self.channel_dim = channel_dim
        self.bounds = checked_bounds(bounds)
        self.low_memory = low_memory
        self.shared_gradient = checked_gradient(shared_gradient)
        values = checked_init(init, num_parameters, self.bounds)
        super().__init__(num_parameters, values, device, dtype)  # type: ignore[arg-type]

    def reset_parameters(self) -> None:
        """Reset the slopes to their initial values."""
        initialise_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Apply the layer to a tensor of any shape."""
        slopes = slopes_in_use(self.weight, self.bounds, training=self.training)
        if self.shared_gradient == "mean" and self.num_parameters == 1:
            axis = self.channel_dim
            slopes = averaged(slopes, input.shape[axis : axis + 1 or None].numel())  # 1 if there is no such axis
        return functional.prelu(input, slopes, channel_dim=self.channel_dim, low_memory=self.low_memory)

    def project_(self) -> None:
        """Move slopes outside the bounds to the nearest bound, in place. Without bounds this does nothing."""
        project_(self.weight, self.bounds)

    def extra_repr(self) -> str:
        """Return the arguments of `torch.nn.PReLU`, and those of this class that differ from the default."""
        axis = f", channel_dim={self.channel_dim}" if self.channel_dim != 1 else ""
        bounds = f", bounds={self.bounds}" if self.bounds is not None else ""
        memory = "" if self.low_memory is False else f", low_memory={self.low_memory}"
        gradient = ", shared_gradient='mean'" if self.num_parameters == 1 and self.shared_gradient == "mean" else ""
        return super().extra_repr() + axis + bounds + memory + gradient

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.project_()
        super()._save_to_state_dict(destination, prefix, keep_vars)
