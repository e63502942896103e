"""From an ordinary network to an arm: every activation of its own gives its place to the arm's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from slopewise.activations import SIGN
from slopewise.convert import Conversion, ConversionWarning, Site, convert
from slopewise.convert._normal import normalise
from slopewise.convert._replace import Unit, WriteBack, copy_of, put_, units
from slopewise.convert._select import Selection
from slopewise.convert._wrappers import unwrapped
from slopewise.errors import ConversionError, ModelError
from slopewise.study._spec import ConvertSpec
from slopewise.study.models._built import BuiltModel
from slopewise.study.models._recipe import Activation
from slopewise.trace import Inputs

Make = Callable[[Activation, int], nn.Module]  # an activation for a number of channels, in its own random stream
_SMALL = 32  # pixels; deep networks halve their images five times


class _Place(nn.ReLU):
    """Keeps the place of an arm's activation, and remembers its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels


def converted(
    model: nn.Module, activation: Activation | None, make: Make, example: Tensor, options: ConvertSpec
) -> BuiltModel:
    """The network with an arm's activation at every site; None leaves each its own, as modules of their own.

    All arms go the same way, the control and None too, so that they differ in the activations alone.

    Args:
        model: with its initial weights; not used any more afterwards.
        activation: builds the arm's activation for a number of channels.
        make: calls it.
        example: images to run the network on.
        options: what to convert.

    Raises:
        ModelError: the network does not run on the example or has no activation, or an activation cannot stand where
            the channels are not in dimension 1.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConversionWarning)  # what they say is in the notes
            conversion = convert(
                model,
                example,
                to=_Place,
                only=options.only,
                skip=options.skip or None,
                call_sites=options.call_sites,
                channel_dim=options.channel_dim,
            )
            own = _own_activations(model, example, options) if activation is None else {}
    except ConversionError as error:
        shape = tuple(example.shape)
        raise ModelError(f"on images {shape}: {error}{hint_for_size(example)}") from error
    network, sites = conversion.model, {}
    for site in conversion.sites:
        place = network.get_submodule(site.name)
        assert isinstance(place, _Place)  # noqa: S101 - for the type checker
        label = _label(network, site.name)
        new = own[label] if activation is None else make(activation, place.channels)
        _tell_channel_dim(new, site)
        names = tuple(name for name, module in network.named_modules(remove_duplicate=False) if module is place)
        network = put_(network, Unit(place, names, (), site.calls), new.train(place.training))
        sites[label] = new
    replaced = {_label(network, site.name): site.kind for site in conversion.sites}
    return BuiltModel(network, sites, replaced, _notes(conversion))


def hint_for_size(images: Tensor) -> str:
    """Return what to do about a network that may not run on images of this size."""
    height, width = images.shape[2:]
    size = f"{height} x {width} pixels"
    if min(height, width) >= _SMALL:
        return f". The images have {size} (a folder's are resized to data.image_size): does it need another size?"
    return (
        f". Images of {size} may be too small for it: take larger ones (a folder's are resized to data.image_size), or "
        "by model.options a network that halves them less often"
    )


def _own_activations(model: nn.Module, example: Tensor, options: ConvertSpec) -> dict[str, nn.Module]:
    """By label, the activation that the network has at each site."""
    wrapped, selection = unwrapped(model), Selection(options.only, options.skip or None)
    normal = normalise(copy_of(wrapped.inner), Inputs.of(example), selection, call_sites=options.call_sites)
    own = {wrapped.prefix + unit.names[0]: unit.module for unit in units(normal)}
    first: dict[nn.Module, nn.Module] = {}
    for module in own.values():
        _tie_(module, first.setdefault(_origin(module, normal.copies), module))
        if getattr(module, "inplace", False):  # conversion sees to the places where it has to be
            module.inplace = False  # type: ignore[assignment]
    return own


def _origin(module: nn.Module, copies: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """The module of the network that a copy was made of."""
    while module in copies:
        module = copies[module]
    return module


def _tie_(module: nn.Module, other: nn.Module) -> None:
    """Let an activation learn the parameters of another one: those that the network applied at both places."""
    for name, parameter in list(other.named_parameters(recurse=False)):
        setattr(module, name, parameter)


def _label(network: nn.Module, name: str) -> str:
    """A site's name without the wrapper that writes its output over its input."""
    holder, _, attribute = name.rpartition(".")
    return holder if attribute == "act" and isinstance(network.get_submodule(holder), WriteBack) else name


def _tell_channel_dim(activation: nn.Module, site: Site) -> None:
    if site.channel_dim == 1:
        return
    if not hasattr(activation, "channel_dim") and any(True for _ in activation.parameters()):
        raise ModelError(
            f"at {site.name} the channels are in dimension {site.channel_dim} of its input {site.shape}, which "
            f"{type(activation).__name__} cannot be told: give it an attribute `channel_dim`"
        )
    activation.channel_dim = site.channel_dim  # type: ignore[assignment]  # the units of a ReLU are counted there, too


def _notes(conversion: Conversion) -> tuple[str, ...]:
    """Return notes for the user before training: those that need attention first, the expected ones last."""
    left = [f"{refusal.name} ({refusal.kind}) stays as it is: {refusal.reason}" for refusal in conversion.skipped]
    loud = [note for note, refusal in zip(left, conversion.skipped, strict=True) if not refusal.quiet]
    assumed = [
        f"{site.name}: nothing tells which dimension of its input {site.shape} holds the channels, and "
        f"{site.channel_dim} is assumed; model.convert.channel_dim says it"
        for site in conversion.sites
        if site.evidence == "assumed"
    ]
    signs = [f"{site.name}: {note}" for site in conversion.sites for note in site.notes if note.startswith(SIGN)]
    return (*loud, *assumed, *signs, *(note for note in left if note not in loud))
