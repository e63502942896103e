"""Networks that start from the slopes or the weights of another arm's network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slopewise.errors import SpecError
from slopewise.modules import learned_slopes, slope_name, whole
from slopewise.study._spec_tables import ArmSpec
from slopewise.study.models._built import BuiltModel


@torch.no_grad()
def continue_from_(built: BuiltModel, donor: BuiltModel, arm: ArmSpec) -> None:
    """Copy slopes or weights from another arm's network, as `arm.start` asks.

    Slopes are copied call site by call site; a shared slope is copied to every channel. Weights are all parameters and
    buffers outside the activations, and those inside the activations that both networks have. All others keep their
    initial values.

    Args:
        built: Network to copy to, with its own initial weights; changed in place.
        donor: Network to copy from.
        arm: Arm of `built`; it must have a start.

    Raises:
        SpecError: Slopes are to be copied and one of the networks learns none, several slopes would have to become one,
            or the networks differ outside their activations.
        ValueError: The arm has no start.

    Example:
        >>> start = {"arm": "relu", "take": "weights"}
        >>> arm = ArmSpec(name="on", activation="prelu_shared", start=start)
        >>> relu, prelu = (BuiltModel(nn.Sequential(nn.Linear(2, 3), f), {"1": f}) for f in (nn.ReLU(), nn.PReLU()))
        >>> continue_from_(prelu, relu, arm)
        >>> torch.equal(prelu.model[0].weight, relu.model[0].weight), prelu.model[1].weight.item()
        (True, 0.25)
    """
    if arm.start is None:
        raise ValueError(f"arm '{arm.name}' has no start")
    fault = f"arm '{arm.name}' cannot take {arm.start.take} from '{arm.start.arm}'"
    whole = arm.start.take == "weights"
    if whole:
        _take_outside(built, donor, fault)
    for name, site in built.sites.items():
        taken = _take_slopes(site, donor.sites[name], f"{fault}: '{name}'")
        if whole:
            _take_others(site, donor.sites[name])
        elif not taken:
            raise SpecError(
                f"{fault}: one of the two learns no slopes at '{name}'; start.take = 'weights' does not need them"
            )


def _take_outside(built: BuiltModel, donor: BuiltModel, fault: str) -> None:
    own, given = built.outside(), donor.outside()
    shapes, others = ({name: tuple(tensor.shape) for name, tensor in side.items()} for side in (own, given))
    if names := sorted(name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name)):
        raise SpecError(
            f"{fault}: their networks differ outside the activations, in {len(names)} tensors such as '{names[0]}'"
        )
    for name, tensor in own.items():
        tensor.copy_(whole(given[name]))


def _take_slopes(site: nn.Module, donor: nn.Module, fault: str) -> bool:
    """Copy the slopes of an activation; return False if one of the two has no learned slopes."""
    slopes, given = slope_name(site), whole(learned_slopes(donor))
    if slopes is None or not given.numel():
        return False
    own = getattr(site, slopes)
    if given.numel() not in (1, own.numel()):
        raise SpecError(
            f"{fault} has {own.numel()} of its own, but {given.numel()} to take: the numbers must be equal, unless "
            "there is only one to take"
        )
    own.copy_(given.expand(own.numel()).view_as(own))
    return True


def _take_others(site: nn.Module, donor: nn.Module) -> None:
    """Copy the other parameters and buffers of an activation, where names and shapes match."""
    own, given = site.state_dict(keep_vars=True), donor.state_dict()
    for key, tensor in own.items():
        other = None if key == slope_name(site) else given.get(key)
        if isinstance(other, Tensor) and other.shape == tensor.shape:
            tensor.copy_(whole(other))
