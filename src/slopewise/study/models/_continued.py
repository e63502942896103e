"""Networks that start from the slopes or the weights of another arm's network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slopewise.errors import SpecError
from slopewise.modules import learned_slopes, slope_name
from slopewise.study._spec_tables import ArmSpec
from slopewise.study.models._built import BuiltModel


@torch.no_grad()
def continue_from_(built: BuiltModel, donor: BuiltModel, arm: ArmSpec) -> None:
    """Set what an arm's start takes, slopes or weights, to the values in another arm's network.

    Slopes are taken call site by call site; a slope that the other network shares is given to every channel. Weights
    are all parameters and buffers outside the activations, and inside them those that both networks have; the others
    keep their initial values.

    Args:
        built: Network to change, with its own initial weights.
        donor: Network to take from, which stays unchanged.
        arm: The arm of `built`, which has a start.

    Raises:
        SpecError: One of the networks learns no slopes that could be taken, there is one slope for several of the
            other's, or the networks differ outside their activations.

    Example:
        >>> start = {"arm": "relu", "take": "weights"}
        >>> arm = ArmSpec(name="on", activation="prelu_shared", start=start)
        >>> relu, prelu = (BuiltModel(nn.Sequential(nn.Linear(2, 3), f), {"1": f}) for f in (nn.ReLU(), nn.PReLU()))
        >>> continue_from_(prelu, relu, arm)
        >>> torch.equal(prelu.model[0].weight, relu.model[0].weight), prelu.model[1].weight.item()
        (True, 0.25)
    """
    if arm.start is None:
        raise ValueError(f"arm '{arm.name}' starts by itself")
    fault = f"arm '{arm.name}' cannot take {arm.start.take} from '{arm.start.arm}'"
    whole = arm.start.take == "weights"
    if whole:
        _take_outside(built, donor, fault)
    for name, site in built.sites.items():
        taken = _take_slopes(site, donor.sites[name], f"{fault}: '{name}'")
        if whole:
            _take_others(site, donor.sites[name])
        elif not taken:
            raise SpecError(f"{fault}: one of them learns no slopes at '{name}'; start.take = 'weights' needs none")


def _take_outside(built: BuiltModel, donor: BuiltModel, fault: str) -> None:
    own, given = built.outside(), donor.outside()
    shapes, others = ({name: tuple(tensor.shape) for name, tensor in side.items()} for side in (own, given))
    if names := sorted(name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name)):
        raise SpecError(
            f"{fault}: their networks differ outside the activations, in {len(names)} tensors such as '{names[0]}'"
        )
    for name, tensor in own.items():
        tensor.copy_(given[name])


def _take_slopes(site: nn.Module, donor: nn.Module, fault: str) -> bool:
    """Take the slopes of an activation; return False if one of the two learns none."""
    slopes, given = slope_name(site), learned_slopes(donor)
    if slopes is None or not given.numel():
        return False
    own = getattr(site, slopes)
    if given.numel() not in (1, own.numel()):
        raise SpecError(
            f"{fault} has {own.numel()} slope for {given.numel()} there; several can be taken by as many, and one by "
            "any number"
        )
    own.copy_(given.expand(own.numel()).view_as(own))
    return True


def _take_others(site: nn.Module, donor: nn.Module) -> None:
    """Take what an activation of the user's own holds beside slopes."""
    own, given = site.state_dict(keep_vars=True), donor.state_dict()
    for key, tensor in own.items():
        other = None if key == slope_name(site) else given.get(key)
        if isinstance(other, Tensor) and other.shape == tensor.shape:
            tensor.copy_(other)
