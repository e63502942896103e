"""The activations that arms can name, and their factories.

An activation is a callable `factory(channels, **options) -> torch.nn.Module`; a user's own is named in the spec as
`module:callable`. It may hold learned parameters: all arms of a seed share the initial weights of everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from slopewise.errors import ModelError, SpecError, nearest
from slopewise.nn import PReLU
from slopewise.study._references import describe, is_reference, resolve
from slopewise.study._spec_tables import ArmSpec

Bounds = Sequence[float] | None


def relu(channels: int) -> nn.Module:  # noqa: ARG001 - every factory gets the channels
    """Return ReLU: max(x, 0)."""
    return nn.ReLU()


def leaky_relu(channels: int, negative_slope: float = 0.01) -> nn.Module:  # noqa: ARG001
    """Return leaky ReLU, with a fixed small slope (Maas et al. 2013)."""
    return nn.LeakyReLU(negative_slope)


def frozen_slope(channels: int, slope: float = 0.25) -> nn.Module:  # noqa: ARG001
    """Return leaky ReLU with PReLU's initial slope, which separates "a nonzero slope" from "learning it"."""
    return nn.LeakyReLU(slope)


def prelu_shared(channels: int, init: float = 0.25, bounds: Bounds = None) -> nn.Module:  # noqa: ARG001
    """Return PReLU with one learned slope for the layer (He et al. 2015)."""
    return PReLU(1, init, bounds=_pair(bounds))


def prelu_channel(channels: int, init: float = 0.25, bounds: Bounds = None) -> nn.Module:
    """Return PReLU with one learned slope for each channel (He et al. 2015)."""
    return PReLU(channels, init, bounds=_pair(bounds))


def prelu_shared_0(channels: int, bounds: Bounds = None) -> nn.Module:
    """Return `prelu_shared` that starts as ReLU, so that a trained network's output is unchanged at first."""
    return prelu_shared(channels, 0.0, bounds)


def prelu_channel_0(channels: int, bounds: Bounds = None) -> nn.Module:
    """Return `prelu_channel` that starts as ReLU, so that a trained network's output is unchanged at first."""
    return prelu_channel(channels, 0.0, bounds)


def elu(channels: int, alpha: float = 1.0) -> nn.Module:  # noqa: ARG001
    """Return ELU: x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    return nn.ELU(alpha)


def silu(channels: int) -> nn.Module:  # noqa: ARG001
    """Return SiLU: x * sigmoid(x), also called Swish (Ramachandran et al. 2017)."""
    return nn.SiLU()


def gelu(channels: int, approximate: str = "none") -> nn.Module:  # noqa: ARG001
    """Return GELU: x * Phi(x), where Phi is the normal distribution function (Hendrycks and Gimpel 2016)."""
    return nn.GELU(approximate)


def rrelu(channels: int, lower: float = 1 / 8, upper: float = 1 / 3) -> nn.Module:  # noqa: ARG001
    """Return RReLU: a slope drawn anew for each element in training, its mean in evaluation (Xu et al. 2015)."""
    return nn.RReLU(lower, upper)


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    factory.__name__: factory
    for factory in (
        relu,
        leaky_relu,
        frozen_slope,
        prelu_shared,
        prelu_channel,
        prelu_shared_0,
        prelu_channel_0,
        elu,
        silu,
        gelu,
        rrelu,
    )
}
AS_IS = "as_is"  # the arm of an ordinary network's own activations


def activation_factory(arm: ArmSpec) -> Callable[[int], nn.Module] | None:
    """Return the factory of an arm's activation, called with the channels; None for `as_is`, which replaces nothing.

    Raises:
        SpecError: There is no activation of that name, its module cannot be imported, or `as_is` has options.

    Example:
        >>> arm = ArmSpec(name="mine", activation="prelu_channel", options={"init": 0.5})
        >>> activation_factory(arm)(2).weight.tolist()
        [0.5, 0.5]
    """
    if arm.activation == AS_IS:
        if arm.options:
            raise SpecError(f"arm '{arm.name}': 'as_is' takes no options: it is what the network has")
        return None
    if not is_reference(arm.activation) and arm.activation not in ACTIVATIONS:
        known = [*ACTIVATIONS, AS_IS, "module:callable"]
        raise SpecError(f"unknown arm '{arm.activation}'; {nearest(arm.activation, known)}")
    factory = ACTIVATIONS.get(arm.activation) or resolve(arm.activation)

    def build(channels: int) -> nn.Module:
        try:
            module = factory(channels, **arm.options)
        except Exception as error:  # a user's factory can raise anything
            raise ModelError(
                f"arm '{arm.name}': activation '{arm.activation}' for {channels} channels raised {describe(error)}"
            ) from error
        if not isinstance(module, nn.Module):
            raise ModelError(
                f"arm '{arm.name}': activation '{arm.activation}' returned {type(module).__name__}, not a Module"
            )
        return module

    return build


def _pair(bounds: Bounds) -> tuple[float, float] | None:
    if bounds is None:
        return None
    low, high = bounds
    return float(low), float(high)
