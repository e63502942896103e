"""The PReLU layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.types import Device

from slopewise.nn import functional


class PReLU(torch.nn.PReLU):
    """ReLU whose negative slope is learned: f(x) = x where x > 0, else a·x.

    It is a `torch.nn.PReLU` with the same state_dict (one key, `weight`, shape (num_parameters,)), so that
    checkpoints load from one into the other with ``strict=True``. `slopewise.nn.functional.prelu` has the formula's
    gradients, and the dtypes it accepts.

    Bounds are kept by projection. A step of any optimizer may carry a slope over a bound; the next forward pass in
    training mode, `state_dict` or `project_` moves it, in place, to the bound. Every output uses slopes within the
    bounds, in evaluation mode too, where the parameter itself is left alone. The slope's gradient is that of the
    slope used, also at a bound, so a slope can always come back.

    Args:
        num_parameters: 1 for one slope shared by the whole layer, or the number of channels for one slope each.
        init: the initial slopes: one number for all, or `num_parameters` numbers.
        device: of the slopes, as in PyTorch.
        dtype: of the slopes, as in PyTorch.
        channel_dim: the dimension of the input that holds the channels; negative values count from the end.
        bounds: (lowest, highest) slope, ends included; None for no bounds. An end may be infinite.

    Shape:
        Input: any. With more than one slope, dimension `channel_dim` has size `num_parameters`. Output: the same.

    Raises:
        ValueError: `num_parameters` is not positive, `init` has the wrong number of values, `bounds` is not an
            increasing pair, or `init` lies outside it. From the forward pass: the input's channels do not fit.

    Example:
        >>> layer = PReLU(3, init=[0.0, 0.25, 0.5])
        >>> layer(-torch.ones(1, 3)).tolist()
        [[-0.0, -0.25, -0.5]]
    """

    init: float | tuple[float, ...]  # type: ignore[assignment]  # torch.nn.PReLU takes one number alone

    def __init__(
        self,
        num_parameters: int = 1,
        init: float | Iterable[float] | Tensor = 0.25,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        channel_dim: int = 1,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        if num_parameters < 1:
            raise ValueError(f"num_parameters must be 1 or the number of channels, got {num_parameters}")
        self.channel_dim = channel_dim
        self.bounds = None if bounds is None else _checked_bounds(bounds)
        values = _checked_init(init, num_parameters, self.bounds)
        super().__init__(num_parameters, values, device, dtype)  # type: ignore[arg-type]

    def reset_parameters(self) -> None:
        """Set the slopes to their initial values again."""
        if isinstance(self.init, tuple):
            with torch.no_grad():
                self.weight.copy_(torch.tensor(self.init, dtype=self.weight.dtype))
        else:
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Apply the layer to a tensor of any shape."""
        return functional.prelu(input, self._slopes(), channel_dim=self.channel_dim)

    def project_(self) -> None:
        """Move slopes outside the bounds to the nearest bound, in place. Without bounds this does nothing."""
        if self.bounds is not None:
            self.weight.detach().clamp_(*self.bounds)

    def extra_repr(self) -> str:
        """Name the arguments that differ from `torch.nn.PReLU`'s."""
        axis = f", channel_dim={self.channel_dim}" if self.channel_dim != 1 else ""
        bounds = f", bounds={self.bounds}" if self.bounds is not None else ""
        return super().extra_repr() + axis + bounds

    def _slopes(self) -> Tensor:
        """The slopes to use now: within the bounds, whatever an optimizer did to the parameter."""
        if self.bounds is None:
            return self.weight
        if self.training and not torch.compiler.is_exporting():  # an exported program must not move its parameters
            self.project_()
        # A new tensor, never the parameter: the next call may project that before this call's backward pass.
        # Its gradient is the parameter's (straight-through), since clamp's would be 0 outside: a slope trained in
        # evaluation mode would never come back.
        return self.weight.clamp(*self.bounds).detach() + (self.weight - self.weight.detach())

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.project_()
        super()._save_to_state_dict(destination, prefix, keep_vars)


def _checked_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    ends = tuple(map(float, bounds))
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"bounds must be (lowest, highest) with lowest < highest, got {bounds}")
    return ends[0], ends[1]


def _checked_init(
    init: float | Iterable[float] | Tensor, num_parameters: int, bounds: tuple[float, float] | None
) -> float | tuple[float, ...]:
    """`init` as one number where all slopes start alike, else as a tuple of `num_parameters` numbers."""
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
