"""Parameter groups that give slopes settings of their own in an optimizer."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from slopewise.errors import SlopewiseWarning
from slopewise.modules import Role, parameters_of, role
from slopewise.nn import SharedGradient
from slopewise.optim._doubts import absurd_slope, all_zero, settings_to_doubt
from slopewise.optim._shared import can_average, rule, set_shared_gradient, warn_of_sums
from slopewise.support import deprecated, printed


class ParamGroups(list[dict[str, Any]]):
    """Parameter groups to pass to an optimizer; ``str()`` gives a summary.

    The summary also warns of slopes that look uninitialised and, once an optimizer has filled in its own settings, of
    those that will treat slopes unexpectedly.

    Attributes:
        layers: Learned slopes by the path of the layer that holds them. A parameter that several layers share is listed
            under each of them.
        shared: Reduction of the gradient over channels, "mean" or "sum", by the path of each layer with one shared
            slope.
        frozen: Parameters of the model that are in no group, since they require no gradient.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        frozen: Sequence[Tensor] = (),
        layers: Mapping[str, Tensor] | None = None,
        shared: Mapping[str, SharedGradient] | None = None,
    ) -> None:
        super().__init__(groups)
        self.frozen = list(frozen)
        self.layers = dict(layers or {})
        self.shared = dict(shared or {})

    def __str__(self) -> str:
        slopes = [group for group in self if group["name"] == "slopes"]
        decayed = [group for group in slopes if group["weight_decay"] != 0]
        counts = f"{_values(slopes):,} slopes, {_values(decayed):,} decayed"
        lines = [f"{counts}; {len(self.frozen):,} parameters frozen"]
        for group in self:
            settings = [f", {key} {group[key]:g}" for key in ("lr", "weight_decay") if key in group]
            count = f"{len(group['params']):,} parameters, {_values([group]):,} values"
            lines.append(f"  {group['name']}: {count}{''.join(settings)}")
        for gradient, layers in Counter(self.shared.values()).items():
            lines.append(f"  layers that share one slope, with its {gradient} gradient over channels: {layers:,}")
        zeros = any(map(all_zero, self.layers.values()))
        lines += [f"  slopes: {doubt}" for group in slopes for doubt in settings_to_doubt(group, zeros=zeros)]
        lines += [f"  {doubt}" for doubt in _absurd(self.layers)]
        return printed(lines)


def param_groups(
    model: torch.nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.0,
    slope_lr_scale: float = 1.0,
    slope_weight_decay: float = 0.0,
    norm_and_bias_weight_decay: float = 0.0,
    shared_gradient: SharedGradient | None = None,
) -> ParamGroups:
    """Split a model's parameters into "weights", "norms and biases" and "slopes", for any optimizer that takes groups.

    The role of a parameter depends on the module that holds it, not on its path or shape:

    - Slopes are the `weight` of a PReLU layer (`slopewise.nn.PReLU` or `torch.nn.PReLU`) and the learned `slope` of a
      fused one (such as `slopewise.nn.BatchNormPReLU2d`).
    - Norms are the parameters that a normalisation layer itself holds: PyTorch's, a subclass of one (timm's
      BatchNormAct2d, transformers' ConvNextLayerNorm), or a class with "norm" in its name (LlamaRMSNorm).
    - Biases are the parameters named `bias`, and all biases of recurrent and attention layers.
    - Weights are all others.

    Every parameter that requires a gradient is in exactly one group, once, however many modules share it. All three
    groups are present even if empty. Wrap, compile or shard the model first if that replaces its parameters (FSDP).

    The model is only read. A slope that C channels share accumulates C times the gradient of a slope per channel, and
    can diverge at learning rates that suit everything else: `set_shared_gradient` changes that. Where a slopewise layer
    sums the gradient of such a slope, a warning says so once, because earlier versions of this function set the mean.

    By default slopes have no weight decay, which would pull them to 0, which is ReLU. Neither have norms and biases.

    Schedulers that scale each group's own rate (LambdaLR, StepLR, CosineAnnealingLR with eta_min=0) keep the ratio
    between the groups. OneCycleLR takes one peak for each group: ``max_lr=[group["lr"] for group in groups]``.

    Args:
        model: Model whose parameters are split.
        lr: Learning rate of all parameters but the slopes.
        weight_decay: Weight decay of the weights.
        slope_lr_scale: Learning rate of the slopes, in units of `lr`.
        slope_weight_decay: Weight decay of the slopes.
        norm_and_bias_weight_decay: Weight decay of the norms and biases.
        shared_gradient: Deprecated: if given, `set_shared_gradient` is called with it. Call that function instead.

    Returns:
        A list of three dicts with the keys `name`, `params`, `lr` and `weight_decay`.

    Warns:
        SlopewiseWarning: A slope is NaN, beyond ±100, or of size below 1e-20 and not 0, as in uninitialised memory; or,
            once, a slopewise layer sums the gradient of its shared slope.

    Raises:
        ValueError: A number is negative or NaN, a parameter has no shape yet or holds a whole flattened part of the
            model, or no parameter requires a gradient.

    Source for no decay on slopes: He et al. 2015, section 2.1, https://arxiv.org/abs/1502.01852.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.PReLU(16))
        >>> groups = param_groups(model, lr=0.1, weight_decay=5e-4, slope_lr_scale=0.1)
        >>> optimizer = torch.optim.SGD(groups, momentum=0.9)
        >>> print(groups)
        16 slopes, 0 decayed; 0 parameters frozen
          weights: 1 parameters, 432 values, lr 0.1, weight_decay 0.0005
          norms and biases: 1 parameters, 16 values, lr 0.1, weight_decay 0
          slopes: 1 parameters, 16 values, lr 0.01, weight_decay 0
    """
    settings = {
        "lr": lr,
        "weight_decay": weight_decay,
        "slope_lr_scale": slope_lr_scale,
        "slope_weight_decay": slope_weight_decay,
        "norm_and_bias_weight_decay": norm_and_bias_weight_decay,
    }
    for name, value in settings.items():
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")
    if shared_gradient is not None:
        deprecated("param_groups(shared_gradient=...)", "slopewise.set_shared_gradient(model, ...) before it")
        set_shared_gradient(model, shared_gradient)
    entries = list(parameters_of(model))
    for path, module, name, parameter in entries:
        _check_groupable(parameter, f"{path}.{name}" if path else name, module)
    parameters = {id(parameter): parameter for *_, parameter in entries}
    learned = [parameter for parameter in parameters.values() if parameter.requires_grad]
    if not learned:
        raise ValueError(f"no parameter of {type(model).__name__} requires a gradient: there is nothing to optimize")
    # A shared parameter gets the role of its first owner, unless any owner uses it as a slope; then it is a slope.
    roles = {id(parameter): role(module, name) for _, module, name, parameter in reversed(entries)}
    slopes = {
        path: (module, parameter)
        for path, module, name, parameter in entries
        if role(module, name) == "slope" and parameter.requires_grad
    }
    roles |= {id(parameter): "slope" for _, parameter in slopes.values()}

    for doubt in _absurd({path: parameter for path, (_, parameter) in slopes.items()}):
        warnings.warn(doubt, SlopewiseWarning, stacklevel=2)
    gradients = {path: rule(layer) for path, (layer, _) in slopes.items() if layer.num_parameters == 1}
    settable = [path for path, (layer, _) in slopes.items() if path in gradients and can_average(layer)]
    if shared_gradient is None and (summed := [path for path in settable if gradients[path] == "sum"]):
        warn_of_sums(summed[0], stacklevel=3)

    def group(name: str, of: Role, lr: float, weight_decay: float) -> dict[str, Any]:
        members = [parameter for parameter in learned if roles[id(parameter)] == of]
        return {"name": name, "params": members, "lr": lr, "weight_decay": weight_decay}

    return ParamGroups(
        [
            group("weights", "weight", lr, weight_decay),
            group("norms and biases", "norm or bias", lr, norm_and_bias_weight_decay),
            group("slopes", "slope", lr * slope_lr_scale, slope_weight_decay),
        ],
        frozen=[parameter for parameter in parameters.values() if not parameter.requires_grad],
        layers={path: parameter for path, (_, parameter) in slopes.items()},
        shared=gradients,
    )


def _absurd(layers: Mapping[str, Tensor]) -> Iterator[str]:
    for path, slopes in layers.items():
        if (value := absurd_slope(slopes)) is not None:
            yield (
                f"'{path}' has a slope of {value:g}, which looks like memory that nobody initialised (transformers' "
                "from_pretrained leaves slopes so that a checkpoint lacks): load slopes, or call the layer's "
                "reset_parameters()"
            )


def _check_groupable(parameter: Tensor, name: str, module: torch.nn.Module) -> None:
    if is_lazy(parameter):
        raise ValueError(
            f"'{name}' of {type(module).__name__} has no shape yet: pass a batch through the model before grouping"
        )
    if getattr(parameter, "_is_flat_param", False):
        raise ValueError(
            f"'{name}' holds a whole part of the model flattened into one, slopes and all: wrap the model with "
            "FullyShardedDataParallel(..., use_orig_params=True), or shard it with fully_shard"
        )


def _values(groups: Iterable[dict[str, Any]]) -> int:
    return sum(parameter.numel() for group in groups for parameter in group["params"])
