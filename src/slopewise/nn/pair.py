"""Pairs of a batch normalisation and the activation after it: the unfused form of a fused layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from slopewise.nn._prelu import PReLU
from slopewise.nn._slopes import Bounds

_FIXED: dict[type[torch.nn.Module], Callable[[Any], float]] = {
    torch.nn.ReLU: lambda _: 0.0,
    torch.nn.LeakyReLU: lambda act: float(act.negative_slope),
    torch.nn.Identity: lambda _: 1.0,
}


@dataclass(frozen=True)
class Slopes:
    """Slopes of an activation; `learned` is None if they are fixed at `init`."""

    count: int
    init: float | tuple[float, ...]
    learned: torch.nn.Parameter | None = None
    bounds: Bounds | None = None


class Pair(torch.nn.Sequential):
    """A batch normalisation and an activation that replace a fused layer, including its optional residual."""

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Normalise the input, add the residual if given, and apply the activation."""
        normalise, activate = self
        output: Tensor = normalise(input)
        if residual is not None:
            output = output + residual
        return activate(output)  # type: ignore[no-any-return]


def checked(stock: type[_BatchNorm], bn: torch.nn.Module, act: torch.nn.Module) -> Slopes:
    """Return the slopes of `act`, or raise if the two cannot be fused.

    Types must match exactly: a subclass may compute something else.
    """
    if type(bn) is not stock:
        why = ", which shares its statistics between processes" if isinstance(bn, torch.nn.SyncBatchNorm) else ""
        raise TypeError(
            f"bn must be a torch.nn.{stock.__name__}, got {type(bn).__name__}{why}: leave this pair unfused"
        )
    for name, module in (("bn", bn), ("act", act)):
        if module._forward_pre_hooks or module._forward_hooks or module._backward_pre_hooks or module._backward_hooks:
            raise ValueError(f"{name} has hooks, which the fused layer would not call: remove them first")
    return _slopes(act, bn.num_features)


def _slopes(act: torch.nn.Module, channels: int) -> Slopes:
    if type(act) in _FIXED:
        return Slopes(1, _FIXED[type(act)](act))
    if not isinstance(act, torch.nn.PReLU) or type(act) not in (torch.nn.PReLU, PReLU):
        raise TypeError(
            f"act must be a ReLU, LeakyReLU, PReLU or Identity, got {type(act).__name__}: leave this pair unfused"
        )
    count = act.weight.numel()
    if count not in (1, channels):
        raise ValueError(f"act has {count} slopes and bn {channels} channels: pass a PReLU with 1 or {channels} slopes")
    axis = getattr(act, "channel_dim", 1)
    if count > 1 and axis != 1:
        raise ValueError(
            f"act has its channels in dimension {axis} and bn in dimension 1: pass a PReLU for dimension 1"
        )
    return Slopes(count, act.init, act.weight, getattr(act, "bounds", None))


def activation(
    slope: Tensor, init: float | tuple[float, ...], bounds: Bounds | None, *, learnable: bool, low_memory: bool | None
) -> torch.nn.Module:
    """Return the activation with these slopes, which are a parameter if learned and otherwise a plain tensor."""
    if not learnable:
        number = _common_value(slope, init)
        if number == 0.0:
            return torch.nn.ReLU()
        if number == 1.0:
            return torch.nn.Identity()
        if number is not None:
            return torch.nn.LeakyReLU(number)
        slope = torch.nn.Parameter(slope, requires_grad=False)
    act = PReLU(slope.numel(), init, "meta", bounds=bounds, low_memory=low_memory)
    act.weight = slope  # type: ignore[assignment]  # torch refuses a tensor that is no parameter
    return act


def plain(source: _BatchNorm, stock: type[_BatchNorm]) -> _BatchNorm:
    """Return one of PyTorch's own batch normalisations that computes as `source` does and shares its tensors."""
    settings = source.num_features, source.eps, source.momentum, source.affine, source.track_running_stats
    bn = stock(*settings, device="meta")
    share(source, bn)
    return bn


def share(source: _BatchNorm, target: _BatchNorm) -> None:
    """Make `target` share the parameters and buffers of `source`, and set its training mode."""
    for name in ("weight", "bias"):
        target.register_parameter(name, getattr(source, name))
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        target.register_buffer(name, getattr(source, name))
    target.train(source.training)


def _common_value(slope: Tensor, init: float | tuple[float, ...]) -> float | None:
    """Return the common value of all slopes, or None if they differ; `init` itself if the dtype rounds it to that."""
    if slope.is_meta or slope.numel() == 0 or (slope != slope[0]).any():
        return None
    if isinstance(init, float) and slope[0] == torch.tensor(init, dtype=slope.dtype):
        return init
    return float(slope[0])
