"""Slopes that keep their values, bit for bit, whatever an optimizer does in a step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Frozen:
    """Values of slopes that are restored after each step.

    Example:
        >>> slope, frozen = torch.tensor([0.25]), Frozen()
        >>> frozen.hold([slope])
        >>> _ = slope.add_(1.0)
        >>> frozen.moved(), frozen.put_back(), slope
        (True, None, tensor([0.2500]))
    """

    def __init__(self) -> None:
        self._values: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def hold(self, slopes: Iterable[Tensor]) -> None:
        """Record the values before a step.

        Values that differ from those of the last step by rounding alone are first restored to them: some wrappers add
        a perturbation to parameters outside any step and subtract it again (SAM), or average them with their own copies
        (Lookahead). Larger differences are taken as intended, as when a state dict is loaded.
        """
        before, self._values = self._values, {}
        for slope in slopes:
            if (old := before.get(slope)) is not None:
                rounding = 2 * torch.finfo(slope.dtype).eps * (1 + old.abs())
                slope.copy_(torch.where((slope - old).abs() <= rounding, old, slope))
            self._values[slope] = slope.detach().clone()

    def moved(self) -> bool:
        """Return True if the step has moved any slope, other than to NaN. Waits for the device."""
        return any(bool(((slope.detach() - old).abs() > 0).any()) for slope, old in self._values.items())

    @torch.no_grad()
    def put_back(self) -> None:
        """Restore the slopes' values from before the step."""
        for slope, old in self._values.items():
            slope.copy_(old)
