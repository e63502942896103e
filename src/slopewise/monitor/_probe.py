"""The state of every activation's units on one fixed batch: one forward and one backward pass, no side effect.

`output == 0` cannot measure dead units once slopes are nonzero, so two things are measured that mean the same for
every activation, per unit (channel, or feature after a linear layer) of the pre-activation z:

- never positive: z > 0 nowhere in the batch. A ReLU's unit is then dead; a PReLU's is merely linear.
- zero gradient: dL/dz == 0 everywhere in the batch, so nothing reaches the weights that feed the unit.

A layer that fuses normalisation and activation never shows its z. While it is probed its two halves run one after
the other in its place, so that what is measured is what the unfused network would show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.nn import functional
from slopewise.nn._batch_norm_prelu import BatchNormPReLU
from slopewise.nn._slopes import slopes_in_use
from slopewise.optim import slope_name


@dataclass(frozen=True)
class SiteState:
    """One activation layer: its units, learned slopes (flat, empty if none) and the two unit fractions in 0..1."""

    layer: str
    units: int
    slopes: Tensor
    never_positive: float
    zero_gradient: float


@dataclass(frozen=True)
class LayerGradient:
    """Euclidean norm of the gradients of the parameters that a layer holds itself."""

    layer: str
    norm: float


def learned_slopes(module: nn.Module) -> Tensor:
    """The slopes that a PReLU or a fused layer learns, detached and flat; an empty tensor for any other activation.

    Example:
        >>> learned_slopes(nn.PReLU(2)), learned_slopes(nn.ReLU())
        (tensor([0.2500, 0.2500]), tensor([]))
    """
    name = slope_name(module)
    if name is None:
        return torch.empty(0)
    slopes: Tensor = getattr(module, name).detach().flatten()
    bounds = getattr(module, "bounds", None)  # a step may have carried the parameter over; what is applied is not
    return slopes if bounds is None else slopes.clamp(*bounds)


def probe(
    model: nn.Module, sites: Mapping[str, nn.Module], loss: Callable[[nn.Module], Tensor]
) -> tuple[list[SiteState], list[LayerGradient]]:
    """Measure every site and layer in evaluation mode.

    Parameters' `.grad`, buffers, the training mode and the random state are left as they were. A module that is
    applied several times counts as one layer, a unit of which is never positive when it is so in every call.

    Args:
        model: the network, not wrapped.
        sites: its activation modules by name, fused layers among them.
        loss: computes the scalar loss of the probe batch with the model.

    Returns:
        The states in the order of `sites`; the gradients in the order of `model.named_modules()`. A site that the
        forward pass does not reach is left out.

    Example:
        >>> dead = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> _ = nn.init.constant_(dead[0].bias, -1e3)
        >>> states, _ = probe(dead, {"1": dead[1]}, lambda model: model(torch.ones(4, 2)).sum())
        >>> states[0].never_positive, states[0].zero_gradient
        (1.0, 1.0)
    """
    calls: dict[str, list[Tensor]] = {}

    def recorded(name: str, z: Tensor) -> Tensor:
        if not z.requires_grad:  # nothing before it learns; what reaches it still says something
            z = z.detach().requires_grad_()
        calls.setdefault(name, []).append(z)
        return z

    def recorder(name: str) -> Callable[..., Any]:
        def record(site: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            z = recorded(name, args[0] if args else next(iter(kwargs.values())))
            passed = z.clone() if getattr(site, "inplace", False) else z  # else z would become the output
            return ((passed, *args[1:]), kwargs) if args else (args, {**kwargs, next(iter(kwargs)): passed})

        return record

    def halves(name: str) -> Callable[..., Any]:
        def rerun(site: BatchNormPReLU, args: tuple[Any, ...], kwargs: dict[str, Any], _: Tensor) -> Tensor:
            z = recorded(name, site.pre_activation(*args, **kwargs))
            return functional.prelu(z, slopes_in_use(site.slope, site.bounds, training=False).to(z.dtype))

        return rerun

    parameters = {
        layer: own for layer, module in model.named_modules() if (own := _weights(module, module in sites.values()))
    }
    training = {module: module.training for module in model.modules()}
    with ExitStack() as hooks:
        for name, module in sites.items():
            if isinstance(module, BatchNormPReLU):
                handle = module.register_forward_hook(halves(name), with_kwargs=True)
            else:
                handle = module.register_forward_pre_hook(recorder(name), with_kwargs=True)
            hooks.callback(handle.remove)
        model.eval()
        try:
            with torch.enable_grad():
                value = loss(model)
        finally:
            for module, mode in training.items():
                module.training = mode

    flat = [p for own in parameters.values() for p in own] + [z for inputs in calls.values() for z in inputs]
    gradients = iter(torch.autograd.grad(value, flat, allow_unused=True))
    layers = {layer: [next(gradients) for _ in own] for layer, own in parameters.items()}
    with torch.no_grad():
        # One transfer for all norms: asking layer by layer would stall a GPU each time.
        norms = [torch.stack([_norm(g) for g in own]).norm() for own in layers.values()]
        values = torch.stack(norms).tolist() if norms else []
        states = [
            _state(name, sites[name], inputs, [next(gradients) for _ in inputs]) for name, inputs in calls.items()
        ]
    order = list(sites)
    states.sort(key=lambda state: order.index(state.layer))
    return states, [LayerGradient(layer, norm) for layer, norm in zip(layers, values, strict=True)]


def _weights(module: nn.Module, is_site: bool) -> list[Tensor]:
    """The learned parameters that a module itself holds, without what belongs to an activation."""
    if not is_site:
        own = list(module.parameters(recurse=False))
    else:
        own = [p for p in (module.weight, module.bias) if p is not None] if isinstance(module, BatchNormPReLU) else []
    return [p for p in own if p.requires_grad]


def _norm(gradient: Tensor | None) -> Tensor:
    return torch.zeros(()) if gradient is None else gradient.float().norm()


def _state(name: str, site: nn.Module, inputs: list[Tensor], gradients: list[Tensor | None]) -> SiteState:
    axis = getattr(site, "channel_dim", 1)
    positive = torch.stack([_any_per_unit(z > 0, axis) for z in inputs]).any(dim=0)
    reached = torch.stack(
        [_any_per_unit(g, axis) if g is not None else torch.zeros_like(positive) for g in gradients]
    ).any(dim=0)
    fractions = torch.stack([positive, reached]).logical_not().float().mean(dim=1).tolist()
    return SiteState(name, positive.numel(), learned_slopes(site), fractions[0], fractions[1])


def _any_per_unit(flags: Tensor, axis: int) -> Tensor:
    if flags.ndim < 2:
        return flags
    others = [d for d in range(flags.ndim) if d != axis % flags.ndim]
    return torch.count_nonzero(flags, dim=others) > 0  # twice as fast as any() over several dimensions
