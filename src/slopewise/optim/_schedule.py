"""Schedule of the slopes' learning rate: frozen first, then warmed up, then left to the optimizer's own scheduler."""

from __future__ import annotations

import sys
import weakref
from types import FrameType
from typing import Any

import torch
from torch.optim import LBFGS, Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from slopewise.errors import SlopewiseError
from slopewise.optim._frozen import Frozen

_STEPS = "slope_steps"
_STEP = Optimizer.profile_hook_step(lambda: None).__code__  # code of the wrapper that PyTorch puts around every step


def slope_factor(step: int, *, freeze: int = 0, warmup: int = 0) -> float:
    """Return the factor on the slopes' learning rate in a step: 0 for `freeze` steps, then rising linearly to 1.

    factor = min(1, (step + 1 − freeze) / warmup), at least 0; with `warmup` 0 it is 0 or 1.

    Args:
        step: Number of steps completed before this one.
        freeze: Number of steps in which slopes are frozen.
        warmup: Number of steps over which the factor rises; the last of them has the full rate.

    Example:
        >>> [slope_factor(step, freeze=2, warmup=4) for step in range(7)]
        [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return float(min(1.0, max(0, step + 1 - freeze) / max(1, warmup)))


class SlopeSchedule:
    """Schedule that freezes an optimizer's slopes for some steps and warms them up, on top of any other scheduler.

    In every step the learning rate of the groups "slopes" is multiplied by `slope_factor`, only for the duration of
    the step. Between steps the groups hold the rates that you or your scheduler set, so that any scheduler works with
    it, whether it sets rates, scales them step by step or derives them from its base rates. There is nothing to call.

    A frozen slope keeps its value exactly, with or without weight decay, also under optimizers that ignore a group's
    rate (Adafactor with relative steps) and wrappers that step another optimizer (SAM, Lookahead, Accelerate): a step
    of any optimizer that holds the slopes leaves frozen ones unchanged, bit for bit. Their gradients are computed and
    enter the optimizer's momentum and Adam's moments, so that it starts from their running means.

    The number of completed steps is stored in the optimizer's groups, and so is saved and restored with
    ``optimizer.state_dict()``: create the schedule again and load the optimizer's state, in either order. Skipped
    steps (a GradScaler's, after an overflow) do not count.

    Args:
        optimizer: Optimizer whose groups came from `param_groups`.
        freeze: Number of steps in which slopes are frozen.
        warmup: Number of steps after that over which their learning rate rises linearly to the group's. If both are 0,
            slopes have the group's rate from the start.

    Attributes:
        factor: Factor of the next step, for a log of ``schedule.factor * group["lr"]``.

    Raises:
        ValueError: the optimizer has no group "slopes" or is no torch.optim.Optimizer, `freeze` or `warmup` is negative
            or not an integer, the optimizer is LBFGS, which cannot freeze some of its parameters, or it sets rates of
            its own, which cannot be warmed up.
        SlopewiseError: the first step moved slopes at a rate of 0, so that `warmup` would have no effect.

    Example:
        >>> import slopewise as sw
        >>> layer = sw.PReLU()
        >>> _ = sw.set_shared_gradient(layer, "sum")
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

    def __init__(self, optimizer: Optimizer, *, freeze: int = 0, warmup: int = 0) -> None:
        for name, steps in {"freeze": freeze, "warmup": warmup}.items():
            if not isinstance(steps, int) or steps < 0:
                raise ValueError(f"{name} must be a number of steps, 0 or more, got {steps!r}")
        self.freeze, self.warmup = freeze, warmup
        _check(optimizer, self.freeze, self.warmup)
        self._optimizer = weakref.ref(optimizer)
        for group in self._groups():
            group.setdefault(_STEPS, 0)
        self._going_on: list[tuple[Optimizer, FrameType | None]] = []  # running steps and their frames, outermost first
        self._rates: list[tuple[dict[str, Any], Any]] = []
        self._frozen = Frozen()
        self._obeyed = False
        # Wrappers step optimizers other than the one given: a global hook sees every one that holds the slopes. The
        # hook keeps the schedule alive, and is removed together with the optimizer.
        self._hooks = [register_optimizer_step_pre_hook(_eagerly(self._begin))]
        self._seen: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        weakref.finalize(optimizer, self._hooks[0].remove)

    @property
    def factor(self) -> float:
        """Factor of the next step."""
        steps = self._groups()[0].get(_STEPS, 0)
        return slope_factor(steps, freeze=self.freeze, warmup=self.warmup)

    def remove(self) -> None:
        """Detach the schedule from the optimizer: slopes have their group's rate from now on."""
        for hook in self._hooks:
            hook.remove()

    def _groups(self) -> list[dict[str, Any]]:
        optimizer = self._optimizer()
        return [] if optimizer is None else _named_slopes(optimizer)

    def _begin(self, optimizer: Optimizer) -> None:
        """Freeze slopes and scale rates as an optimizer's step begins."""
        slopes = {parameter: None for group in self._groups() for parameter in group["params"]}
        groups = [group for group in optimizer.param_groups if any(p in slopes for p in group["params"])]
        if not groups:
            return
        calls = _calls()
        while self._going_on and self._going_on[-1][1] not in calls:  # ended by an error
            self._going_on.pop()
        if not self._going_on:
            self._restore_rates()
            if self.factor == 0:
                _check_searches_none(optimizer)
                self._frozen.hold(slopes)
        self._going_on.append((optimizer, calls[0] if calls else None))
        if optimizer not in self._seen:
            self._seen.add(optimizer)
            self._hooks.append(optimizer.register_step_post_hook(_eagerly(self._finish)))
        scaled = [id(group) for group, _ in self._rates]
        for group in groups:  # the rate of a group that also has weights is not scaled
            if id(group) not in scaled and group.get("lr") is not None and all(p in slopes for p in group["params"]):
                self._rates.append((group, group["lr"]))
                group["lr"] = group["lr"] * self.factor

    def _finish(self, optimizer: Optimizer) -> None:
        """Restore rates and frozen slopes as an optimizer's step ends, unless an outer step is still running."""
        if not self._going_on or self._going_on.pop()[0] is not optimizer or self._going_on:
            return
        self._restore_rates()
        factor = self.factor
        if factor == 0:
            disobeyed = self.warmup > 0 and not self._obeyed and self._frozen.moved()
            self._frozen.put_back()
            if disobeyed:
                raise SlopewiseError(
                    f"{type(optimizer).__name__} moved slopes at a learning rate of 0: it sets rates of its own, so "
                    "slopes can be frozen but not warmed up: SlopeSchedule(..., warmup=0)"
                )
            self._obeyed = True
        if factor < 1 and _skipped(optimizer):
            return
        for group in self._groups():
            group[_STEPS] = group.get(_STEPS, 0) + 1

    def _restore_rates(self) -> None:
        while self._rates:
            group, rate = self._rates.pop()
            group["lr"] = rate


def _check(optimizer: Optimizer, freeze: int, warmup: int) -> None:
    kind = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise ValueError(
            f"{kind} does not derive from torch.optim.Optimizer, so that its steps cannot be seen: make the schedule "
            "on the optimizer that it wraps"
        )
    slopes = _named_slopes(optimizer)
    if not slopes:
        raise ValueError("the optimizer has no group named 'slopes': build it from sw.param_groups(model, lr=...)")
    if freeze or warmup:
        _check_searches_none(optimizer)
    # Relative steps are Adafactor's, d0 is Prodigy's, which wants one rate in all groups.
    if warmup and any(group.get("relative_step") or "d0" in group or group.get("lr") is None for group in slopes):
        raise ValueError(
            f"{kind} sets rates of its own (relative_step, d0, or no lr), so slopes can be frozen but not warmed up: "
            "pass warmup=0, or to Adafactor relative_step=False and a learning rate"
        )


def _check_searches_none(optimizer: Optimizer) -> None:
    if isinstance(optimizer, LBFGS):
        raise ValueError(
            "LBFGS moves all its parameters along one line, and its memory of curvature spoils where some are held: "
            "leave slopes out of it (requires_grad_(False), or an optimizer of their own)"
        )


def _named_slopes(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [group for group in optimizer.param_groups if group.get("name") == "slopes"]


def _skipped(optimizer: Optimizer) -> bool:
    """Return True if a fused optimizer, which a GradScaler always steps, found an overflow and did nothing."""
    overflow = getattr(optimizer, "found_inf", None)
    return overflow is not None and bool(overflow)


def _calls() -> list[FrameType]:
    """Return the frames of optimizers' steps that are running, innermost first. Steps that raised are not included."""
    frame: FrameType | None = sys._getframe()
    frames = []
    while frame is not None:
        if frame.f_code is _STEP:
            frames.append(frame)
        frame = frame.f_back
    return frames


def _eagerly(call: Any) -> Any:
    """Wrap a method as an optimizer's hook that torch.compile does not trace."""

    @torch._disable_dynamo  # type: ignore[attr-defined]
    def hook(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        call(optimizer)

    return hook
