"""Modules that are put at call sites: PReLUs, or whatever the user's callable builds for a site."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from slopewise.convert._units import Channels, Unit
from slopewise.errors import nearest
from slopewise.nn import PReLU

TARGETS = ("prelu_channel", "prelu_shared")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NO_COUNT = ("bool", "float", "str")  # types of parameters that take no number of channels
_FORMS = "write to=lambda channels: ..., or to=lambda site: ... for a callable that is given a SiteContext"


@dataclass(frozen=True)
class SiteContext:
    """A call site, as `convert` describes it to the callable that builds a module for it.

    Attributes:
        name: Name of the call site in the converted model, such as "layer1.0.relu_2". It is `Site.name`, unless the
            output is written over the input, which is read again; then `Site.name` is "layer1.0.relu_2.act".
        kind: Kind of the activation that the model applies there, such as "relu" or "gelu"; as `Site.kind`.
        channels: Number of channels of its input.
        channel_dim: Dimension of its input that holds the channels, counted from the end (-1) where that is negative.
        shape: Sizes of its input on the example, such as (N, C, H, W); ``shape[channel_dim] == channels``.
        module: Activation that the model applies there, in a copy of the model: the same object at all call sites of
            one module, which shows that they share its slopes. For an activation that is called as a
            function or written out, a module that computes it. Return it to keep the activation; change a copy only.

    Example:
        >>> import torch
        >>> import slopewise as sw
        >>> def build(site: SiteContext) -> nn.Module:
        ...     return site.module if site.kind == "gelu" else sw.PReLU(site.channels)
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.GELU())
        >>> sw.convert(net, torch.randn(2, 4), to=build).model
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): PReLU(num_parameters=8)
          (2): Linear(in_features=8, out_features=6, bias=True)
          (3): GELU(approximate='none')
        )
    """

    name: str
    kind: str
    channels: int
    channel_dim: int
    shape: tuple[int, ...]
    module: nn.Module


Factory = Callable[[int], nn.Module] | Callable[[SiteContext], nn.Module | None]


class Target:
    """The argument `to` of `convert`, with the other settings of new modules.

    Raises:
        TypeError: `to` is a callable that cannot build modules; see `takes_site`.
        ValueError: A string is no known target.
    """

    def __init__(self, to: str | Factory, init: float, *, low_memory: bool | None) -> None:
        if not callable(to) and to not in TARGETS:
            raise ValueError(f"unknown to={to!r}; {nearest(str(to), [*TARGETS, 'a callable'])}")
        self.to, self.init = to, init
        self.low_memory = low_memory
        self.given_site = callable(to) and takes_site(to)

    @property
    def shared(self) -> bool:
        """True if each site gets one slope for all its channels."""
        return self.to == "prelu_shared"

    @property
    def custom(self) -> bool:
        """True if the modules are built by the user's callable."""
        return callable(self.to)

    def build(self, unit: Unit, channels: Channels, context: SiteContext) -> nn.Module | None:
        """Return the module for a site, on its device, in its dtype and training mode; None leaves the site as it is.

        Raises:
            TypeError: The callable returned no module.
        """
        if not callable(self.to):
            return self._prelu(unit, channels)
        build: Callable[[Any], object] = self.to
        new = build(context if self.given_site else channels.count)
        if new is None:
            return None
        if not isinstance(new, nn.Module):
            raise TypeError(
                f"to={_name(self.to)} must return a torch.nn.Module, or None to leave the site as it is; for "
                f"'{context.name}' it returned {type(new).__name__}"
            )
        new = new.to(device=unit.input.device)
        if any(p.is_floating_point() for p in new.parameters()):
            new = new.to(dtype=unit.input.dtype)
        if isinstance(new, PReLU):
            new.channel_dim = channels.dim  # callables of the number of channels do not know it
        return new.train(unit.module.training)

    def _prelu(self, unit: Unit, channels: Channels) -> PReLU:
        count, old = 1 if self.shared else channels.count, unit.module
        slope = unit.activations[0].slope
        if slope is None or unit.kind not in ("prelu", "leaky_relu"):
            slope = self.init
        if isinstance(slope, Tensor):
            if slope.is_meta or slope.numel() not in (1, count):
                slope = self.init if slope.is_meta else float(slope.mean())
            else:
                slope = slope.expand(count)
        new = PReLU(
            count,
            slope,
            unit.input.device,
            unit.input.dtype,
            channel_dim=channels.dim,
            bounds=getattr(old, "bounds", None),
            low_memory=bool(self.low_memory),  # by default the fused layers alone
        )
        if isinstance(old, nn.PReLU):
            new.weight.requires_grad_(old.weight.requires_grad)
        return new.train(old.training)


def takes_site(to: Callable[..., object]) -> bool:
    """Return True if a callable takes a `SiteContext`, False if it takes the number of channels.

    It takes the site if its first parameter is annotated with `SiteContext`, or is named `site` and has no annotation.
    Any other callable takes the number of channels, also one whose signature Python does not know. Both are passed by
    position.

    Raises:
        TypeError: The callable cannot be called with one argument, takes a setting of another type first, or is a
            module instead of a callable that builds one.

    Example:
        >>> takes_site(lambda site: nn.PReLU(site.channels)), takes_site(lambda c: nn.PReLU(c)), takes_site(nn.PReLU)
        (True, False, False)
        >>> takes_site(nn.LeakyReLU)
        Traceback (most recent call last):
            ...
        TypeError: to=LeakyReLU would take the number of channels for its `negative_slope`: write to=lambda channels: \
LeakyReLU(...)
    """
    name = _name(to)
    if isinstance(to, nn.Module):
        raise TypeError(
            f"to={name}(...) is a module, and each site gets one of its own: write to=lambda channels: {name}(...)"
        )
    try:
        signature = inspect.signature(to)
    except (TypeError, ValueError):  # some functions and classes written in C have none
        return False
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(f"to={name} is called with one argument, and takes {signature} ({error}): {_FORMS}") from error
    first = next(iter(signature.parameters.values()))
    if first.kind in _POSITIONAL and first.default is not first.empty and _spelled(first.annotation) in _NO_COUNT:
        raise TypeError(
            f"to={name} would take the number of channels for its `{first.name}`: write to=lambda channels: {name}(...)"
        )
    if first.annotation is first.empty:
        return first.name == "site" and first.kind in _POSITIONAL
    return _spelled(first.annotation) == SiteContext.__name__


def _spelled(annotation: object) -> str:
    """Return the last part of an annotation's name; under `from __future__ import annotations` it is text."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.strip("'\"").rpartition(".")[2]


def _name(to: object) -> str:
    """Return a callable's name for a message; that of its class for an object without one."""
    if isinstance(to, functools.partial):
        return _name(to.func)
    return getattr(to, "__name__", type(to).__name__)
