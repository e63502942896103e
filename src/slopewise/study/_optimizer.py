"""Optimizer of a trial's weights and slopes, and its learning rate schedule."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.errors import SlopewiseWarning
from slopewise.modules import is_sharded
from slopewise.optim import ParamGroups, param_groups, set_shared_gradient
from slopewise.study._spec_tables import ArmSpec, TrainSpec

_WARM_UP = 0.25  # fraction of the steps in which one-cycle climbs to the peak


def build_optimizer(
    model: nn.Module, train: TrainSpec, arm: ArmSpec, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return an arm's optimizer, with the settings of slopes, and the schedule over all its steps."""
    lr = train.lr if arm.lr is None else arm.lr
    set_shared_gradient(model, arm.shared_gradient or train.shared_gradient)
    with warnings.catch_warnings():
        if arm.start:  # learned slopes: however large, they are no uninitialised memory
            warnings.filterwarnings("ignore", ".*looks like memory that nobody initialised", SlopewiseWarning)
        groups = param_groups(
            model,
            lr=lr,
            weight_decay=train.weight_decay,
            norm_and_bias_weight_decay=train.weight_decay,
            **slope_settings(train, arm),
        )
    merged = _merged(groups)
    optimizer: torch.optim.Optimizer
    if train.optimizer == "sgd":
        # PyTorch has no fused SGD for sharded parameters (FSDP2).
        fused = not any(map(is_sharded, model.parameters()))
        optimizer = torch.optim.SGD(merged, lr=lr, momentum=train.momentum, nesterov=train.momentum > 0, fused=fused)
    else:
        optimizer = torch.optim.AdamW(merged, lr=lr, betas=(train.momentum, 0.999), fused=True)
    total = epochs_of(train, arm) * steps_per_epoch
    shape = partial(_one_cycle, total=total) if train.schedule == "one-cycle" else _constant
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, shape)


def _merged(groups: ParamGroups) -> list[dict[str, Any]]:
    """Return the groups, those of equal settings as one, since a step takes its time for each; the weights stay first.

    Example:
        >>> groups = param_groups(nn.Linear(3, 2), lr=0.1)
        >>> len(groups), [len(group["params"]) for group in _merged(groups)]
        (3, [2])
    """
    merged: dict[tuple[float, float], list[Tensor]] = {}
    for group in groups:
        merged.setdefault((group["lr"], group["weight_decay"]), []).extend(group["params"])
    return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in merged.items()]


def epochs_of(train: TrainSpec, arm: ArmSpec) -> int:
    """Return the number of epochs of an arm; by default that of [train]."""
    return arm.epochs or train.epochs


def slope_settings(train: TrainSpec, arm: ArmSpec) -> dict[str, Any]:
    """Return the slope settings of an arm, by default those of [train], as arguments of `slopewise.param_groups`.

    Example:
        >>> slope_settings(TrainSpec(), ArmSpec(name="a", activation="prelu_channel", slope_weight_decay=0.1))
        {'slope_lr_scale': 1.0, 'slope_weight_decay': 0.1}
    """
    own = {key: getattr(arm, key) for key in ("slope_lr_scale", "slope_weight_decay")}
    return {key: getattr(train, key) if value is None else value for key, value in own.items()}


def _constant(step: int) -> float:  # noqa: ARG001 - the signature of a schedule
    return 1.0


def _one_cycle(step: int, *, total: int) -> float:
    """Return the fraction of the peak rate at a step: linear up over the first quarter, then cosine to nearly 0.

    torch's OneCycleLR divides by zero for some small numbers of steps, and changes the momentum, too.
    """
    peak = max(1, round(_WARM_UP * total))
    if step < peak:
        return (step + 1) / peak
    return 0.5 + 0.5 * math.cos(math.pi * (step + 1 - peak) / (total + 1 - peak))
