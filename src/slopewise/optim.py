"""Parameter groups: what an optimizer should do to slopes and what to the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from slopewise.nn._batch_norm_prelu import BatchNormPReLU


def slope_name(module: torch.nn.Module) -> str | None:
    """The name under which a module itself holds learned slopes; None if it holds none.

    Example:
        >>> slope_name(torch.nn.PReLU()), slope_name(torch.nn.BatchNorm2d(3))
        ('weight', None)
    """
    if isinstance(module, torch.nn.PReLU):  # ours is one, too
        return "weight"
    return "slope" if isinstance(module, BatchNormPReLU) and module.learnable else None


class ParamGroups(list[dict[str, Any]]):
    """Parameter groups to pass to an optimizer; ``str()`` says what is in them.

    Attributes:
        frozen: the model's parameters that are in no group, since they require no gradient.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], frozen: Sequence[Tensor] = ()) -> None:
        super().__init__(groups)
        self.frozen = list(frozen)

    def __str__(self) -> str:
        slopes = [group for group in self if group["name"] == "slopes"]
        decayed = [group for group in slopes if group["weight_decay"] != 0]
        lines = [f"{_values(slopes):,} slopes, {_values(decayed):,} decayed"]
        for group in [*self, {"name": "frozen", "params": self.frozen}]:
            settings = [f", {key} {group[key]:g}" for key in ("lr", "weight_decay") if key in group]
            count = f"{len(group['params']):,} tensors, {_values([group]):,} values"
            lines.append(f"  {group['name']}: {count}{''.join(settings)}")
        return "\n".join(lines)


def param_groups(
    model: torch.nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.0,
    slope_lr_scale: float = 1.0,
    slope_weight_decay: float = 0.0,
) -> ParamGroups:
    """Split a model's parameters into the groups "weights" and "slopes", for any torch optimizer.

    A slope is the `weight` of a PReLU layer (`slopewise.nn.PReLU` or `torch.nn.PReLU`) or the learned `slope` of a
    fused one (`slopewise.nn.BatchNormPReLU2d` and its like); everything else, biases and normalisation included, is
    a weight. Every parameter that requires a gradient is in exactly one group, once,
    however many modules share it. Both groups are there even when empty.

    Slopes take no weight decay unless asked to: decay pulls a slope to 0, which is ReLU. A slope's gradient is a sum
    over all elements that share it, so a shared slope moves further in one step of SGD than a weight;
    `slope_lr_scale` below 1 restrains it.

    Schedulers that scale each group's own rate (LambdaLR, StepLR, CosineAnnealingLR with eta_min=0) keep the ratio
    between the groups. OneCycleLR takes one peak for each group: ``max_lr=[group["lr"] for group in groups]``.

    Args:
        model: holds the parameters.
        lr: learning rate of the weights.
        weight_decay: of the weights.
        slope_lr_scale: learning rate of the slopes, in units of `lr`.
        slope_weight_decay: of the slopes.

    Returns:
        A list of two dicts with the keys `name`, `params`, `lr` and `weight_decay`.

    Raises:
        ValueError: a number is negative or NaN, or no parameter requires a gradient.

    Source for no decay on slopes: He et al. 2015, section 2.1, https://arxiv.org/abs/1502.01852.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.PReLU(16))
        >>> groups = param_groups(model, lr=0.1, weight_decay=5e-4, slope_lr_scale=0.1)
        >>> optimizer = torch.optim.SGD(groups, momentum=0.9)
        >>> print(groups)
        16 slopes, 0 decayed
          weights: 2 tensors, 448 values, lr 0.1, weight_decay 0.0005
          slopes: 1 tensors, 16 values, lr 0.01, weight_decay 0
          frozen: 0 tensors, 0 values
    """
    settings = {
        "lr": lr,
        "weight_decay": weight_decay,
        "slope_lr_scale": slope_lr_scale,
        "slope_weight_decay": slope_weight_decay,
    }
    for name, value in settings.items():
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")
    parameters = list(model.parameters())
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    if not learned:
        raise ValueError(f"no parameter of {type(model).__name__} requires a gradient: there is nothing to optimize")
    slopes = {id(parameter) for module in model.modules() for parameter in _slopes(module)}
    return ParamGroups(
        [
            {
                "name": "weights",
                "params": [parameter for parameter in learned if id(parameter) not in slopes],
                "lr": lr,
                "weight_decay": weight_decay,
            },
            {
                "name": "slopes",
                "params": [parameter for parameter in learned if id(parameter) in slopes],
                "lr": lr * slope_lr_scale,
                "weight_decay": slope_weight_decay,
            },
        ],
        frozen=[parameter for parameter in parameters if not parameter.requires_grad],
    )


def _slopes(module: torch.nn.Module) -> list[Tensor]:
    name = slope_name(module)
    if name is None:
        return []
    parametrised = f"parametrizations.{name}."
    return [p for key, p in module.named_parameters() if key == name or key.startswith(parametrised)]


def _values(groups: Iterable[dict[str, Any]]) -> int:
    return sum(parameter.numel() for group in groups for parameter in group["params"])
