"""When slopes learn: frozen first, then warmed up, then at the rate that the optimizer's own scheduler gives them."""

from __future__ import annotations

from typing import Any

import torch

_STEPS = "slope_steps"


def slope_factor(step: int, *, freeze: int = 0, warmup: int = 0) -> float:
    """Share of their learning rate that slopes get in a step: 0 for `freeze` steps, then linearly up to 1.

    factor = min(1, (step + 1 − freeze) / warmup), at least 0; with `warmup` 0 it is 0 or 1.

    Args:
        step: number of steps done before it.
        freeze: steps in which slopes stay.
        warmup: steps over which the factor climbs; the last of them has the full rate.

    Example:
        >>> [slope_factor(step, freeze=2, warmup=4) for step in range(7)]
        [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return float(min(1.0, max(0, step + 1 - freeze) / max(1, warmup)))


class SlopeSchedule:
    """Freezes the slopes of an optimizer for some steps and warms them up, on top of any learning rate scheduler.

    In every step of the optimizer the learning rate of its groups "slopes" is multiplied by `slope_factor`, for the
    duration of the step alone. Outside of it the groups hold what you or your scheduler put there, so that any
    scheduler works with it, whether it sets rates, scales them step by step or takes them from its base rates. There
    is nothing to call.

    The steps done are counted in the optimizer's groups, and so are saved and restored with ``optimizer.state_dict()``:
    make the schedule again and load the optimizer's state, in either order. Steps that do not take place (a
    GradScaler's, after an overflow) do not count.

    A frozen slope keeps its value exactly, weight decay or not. Its gradients are computed and enter the optimizer's
    momentum and Adam's moments, so that it starts from their running means.

    Args:
        optimizer: any whose groups came from `param_groups`.
        freeze: steps in which slopes stay as they are.
        warmup: steps after that over which their learning rate climbs linearly to the group's; with both at 0 slopes
            follow it from the start.

    Attributes:
        factor: the factor of the next step, for a log of ``schedule.factor * group["lr"]``.

    Raises:
        ValueError: the optimizer has no group "slopes", or `freeze` or `warmup` is negative or no whole number.

    Example:
        >>> import slopewise as sw
        >>> layer = sw.PReLU()
        >>> optimizer = torch.optim.SGD(sw.param_groups(layer, lr=0.5))
        >>> schedule = SlopeSchedule(optimizer, freeze=1, warmup=2)
        >>> for _ in range(4):
        ...     optimizer.zero_grad()
        ...     layer(-torch.ones(1)).backward()  # the gradient of the slope is -1
        ...     optimizer.step()
        ...     print(layer.weight.item())
        0.25
        0.5
        1.0
        1.5
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, freeze: int = 0, warmup: int = 0) -> None:
        for name, steps in {"freeze": freeze, "warmup": warmup}.items():
            if not isinstance(steps, int) or steps < 0:
                raise ValueError(f"{name} must be a number of steps, 0 or more, got {steps!r}")
        self.optimizer, self.freeze, self.warmup = optimizer, freeze, warmup
        if not self._groups():
            raise ValueError("the optimizer has no group named 'slopes': build it from sw.param_groups(model, lr=...)")
        for group in self._groups():
            group.setdefault(_STEPS, 0)
        self._rates: list[tuple[dict[str, Any], Any]] = []
        self._hooks = [
            optimizer.register_step_pre_hook(lambda *_: self._scale()),
            optimizer.register_step_post_hook(lambda *_: self._count()),
        ]

    @property
    def factor(self) -> float:
        """The factor of the next step."""
        return self._factor(self._groups()[0])

    def remove(self) -> None:
        """Leave the optimizer alone from now on: slopes follow their group's rate."""
        for hook in self._hooks:
            hook.remove()

    def _groups(self) -> list[dict[str, Any]]:
        return [group for group in self.optimizer.param_groups if group.get("name") == "slopes"]

    def _factor(self, group: dict[str, Any]) -> float:
        return slope_factor(group.get(_STEPS, 0), freeze=self.freeze, warmup=self.warmup)

    def _scale(self) -> None:
        self._restore()  # after a step that raised
        for group in self._groups():
            self._rates.append((group, group["lr"]))
            group["lr"] = group["lr"] * self._factor(group)

    def _count(self) -> None:
        self._restore()
        for group in self._groups():
            group[_STEPS] = group.get(_STEPS, 0) + 1

    def _restore(self) -> None:
        while self._rates:
            group, rate = self._rates.pop()
            group["lr"] = rate
