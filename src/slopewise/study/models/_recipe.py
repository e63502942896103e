"""Recipes: the kinds of network that a spec's `model.name` can name, and the way each is built.

There are two kinds. An *ordinary* network has activations of its own; a study converts it. A network *with the arm's
activation* is built by a callable that requires an argument `activation`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from slopewise.errors import ModelError, SlopewiseError, SpecError, nearest
from slopewise.study._references import describe, is_reference, resolve
from slopewise.study._spec_tables import ModelSpec
from slopewise.study.models._cnn import cnn
from slopewise.study.models._espcn import espcn
from slopewise.study.models._libraries import LIBRARIES
from slopewise.study.models._resnet import resnet20
from slopewise.study.models._unet import unet

Activation = Callable[[int], nn.Module]
Builder = Callable[..., nn.Module]

MODELS: dict[str, Builder] = {"cnn": cnn, "resnet20": resnet20, "unet": unet, "espcn": espcn}
_SHAPES = ("upscale", "dimensions")  # given to networks that require them


@dataclass(frozen=True)
class Recipe:
    """Builder of the network that a spec names.

    Attributes:
        name: Name of the network, for messages.
        build: Function that builds the network, called with the keyword arguments in `takes`.
        takes: Names of the arguments that it takes, out of `activation`, `num_classes`, `in_channels`, `upscale` and
            `dimensions`.
    """

    name: str
    build: Callable[..., Any]
    takes: tuple[str, ...]

    def network(self, **arguments: Any) -> nn.Module:
        """Build the network from those of the arguments that it takes.

        Raises:
            ModelError: The builder raises, or returns no module.
        """
        given = {name: arguments[name] for name in self.takes}
        try:
            model = self.build(**given)
        except SlopewiseError:  # the activation's own, already in plain words
            raise
        except (Exception, SystemExit) as error:  # a user's builder can raise anything
            call = ", ".join(name if name == "activation" else f"{name}={value}" for name, value in given.items())
            raise ModelError(f"model '{self.name}' ({call}) raised {describe(error)}") from error
        if not isinstance(model, nn.Module):
            raise ModelError(f"model '{self.name}' returned {type(model).__name__}, not a torch.nn.Module")
        return model

    @property
    def ordinary(self) -> bool:
        """True if the network has activations of its own, which conversion replaces."""
        return "activation" not in self.takes


def recipe(spec: ModelSpec) -> Recipe:
    """Return the recipe of a model spec, after a check of its name and options.

    A callable with a parameter `activation` without a default value is called with the arm's activation. Any other
    callable builds an ordinary network: it is called with `model.options` and with those of `num_classes` and
    `in_channels` that are among its parameters and not in the options. Either gets `upscale` (size of the targets in
    sizes of the images) and `dimensions` (spatial axes) if it requires parameters of these names.

    Raises:
        SpecError: There is no such model or option, or a required argument of the callable is missing.

    Example:
        >>> recipe(ModelSpec(name="resnet20")).takes
        ('activation', 'num_classes', 'in_channels')
        >>> recipe(ModelSpec(name="torch.nn:Linear", options={"in_features": 2, "out_features": 3})).takes
        ()
    """
    library, _, name = spec.name.partition(":")
    if library in LIBRARIES and name:
        return Recipe(spec.name, LIBRARIES[library](name, spec.options), ("num_classes", "in_channels"))
    if is_reference(spec.name):
        return _of_callable(spec, resolve(spec.name))
    if spec.name not in MODELS:
        kinds = [*MODELS, "module:callable", *(f"{library}:name" for library in LIBRARIES)]
        raise SpecError(f"unknown model '{spec.name}'; {nearest(spec.name, kinds)}")
    options = [p.name for p in inspect.signature(MODELS[spec.name]).parameters.values() if p.kind == p.KEYWORD_ONLY]
    for option in spec.options:
        if option not in options:
            raise SpecError(f"unknown key 'model.options.{option}' of model '{spec.name}'; {nearest(option, options)}")
    return _with_activation(spec, MODELS[spec.name])


def _of_callable(spec: ModelSpec, build: Builder) -> Recipe:
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"model '{spec.name}': its parameters cannot be read ({error}); wrap it in a function"
        ) from error
    parameters = signature.parameters
    if "activation" in parameters and parameters["activation"].default is inspect.Parameter.empty:
        return _with_activation(spec, build)
    takes = tuple(n for n in ("num_classes", "in_channels") if n in parameters and n not in spec.options)
    takes += _required_shapes(build, spec.options)
    try:
        signature.bind(**dict.fromkeys(takes), **spec.options)
    except TypeError as error:
        raise SpecError(
            f"model '{spec.name}' {error}. It gets `activation` if it requires it, `num_classes` and `in_channels` if "
            "it has parameters of these names, and model.options"
        ) from error
    return Recipe(spec.name, lambda **given: build(**given, **spec.options), takes)


def _with_activation(spec: ModelSpec, build: Builder) -> Recipe:
    def positional(activation: Activation, num_classes: int, in_channels: int, **shapes: int) -> Any:
        return build(activation, num_classes, in_channels, **shapes, **spec.options)

    takes = ("activation", "num_classes", "in_channels", *_required_shapes(build, spec.options))
    return Recipe(spec.name, positional, takes)


def _required_shapes(build: Builder, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which of the arguments about shapes a builder requires and the options do not give."""
    parameters = inspect.signature(build).parameters
    required = (name for name in _SHAPES if name in parameters and name not in options)
    return tuple(name for name in required if parameters[name].default is inspect.Parameter.empty)
