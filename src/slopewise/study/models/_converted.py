"""Conversion of an ordinary network to an arm: the arm's activation replaces the network's own ones."""

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
    """Placeholder for an arm's activation, with the number of its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels


def converted(
    model: nn.Module, activation: Activation | None, make: Make, example: Tensor, options: ConvertSpec
) -> BuiltModel:
    """Return the network with an arm's activation at every site; None puts a separate copy of the site's own there.

    All arms are converted in the same way, including the control and None, so that they differ only in the activations.

    Args:
        model: Network with its initial weights; must not be used afterwards.
        activation: Factory of the arm's activation, called with the number of channels; None keeps the network's own.
        make: Function that calls the factory in a random stream of its own.
        example: Images on which the network is run.
        options: Selection of the activations to convert.

    Raises:
        ModelError: The network does not run on the example or has no activation, or an activation with parameters has
            no `channel_dim` to set at a site whose channels are not in dimension 1.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConversionWarning)  # their contents are in the notes
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
    """Return a hint for a network that does not run on images, perhaps because of their size."""
    height, width = images.shape[2:]
    size = f"{height} x {width} pixels"
    if min(height, width) >= _SMALL:
        return f". The images have {size} (a folder's are resized to data.image_size): does it need another size?"
    return (
        f". Images of {size} may be too small for it: take larger ones (a folder's are resized to data.image_size), or "
        "by model.options a network that halves them less often"
    )


def _own_activations(model: nn.Module, example: Tensor, options: ConvertSpec) -> dict[str, nn.Module]:
    """Return the network's own activation at each site, by label."""
    wrapped, selection = unwrapped(model), Selection(options.only, options.skip or None)
    normal = normalise(copy_of(wrapped.inner), Inputs.of(example), selection, call_sites=options.call_sites)
    own = {wrapped.prefix + unit.names[0]: unit.module for unit in units(normal)}
    first: dict[nn.Module, nn.Module] = {}
    for module in own.values():
        _tie_(module, first.setdefault(_origin(module, normal.copies), module))
        if getattr(module, "inplace", False):  # conversion handles the sites that need it
            module.inplace = False  # type: ignore[assignment]
    return own


def _origin(module: nn.Module, copies: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return the module of the network from which a copy was made."""
    while module in copies:
        module = copies[module]
    return module


def _tie_(module: nn.Module, other: nn.Module) -> None:
    """Share the parameters of another activation: in the original network, one module had both call sites."""
    for name, parameter in list(other.named_parameters(recurse=False)):
        setattr(module, name, parameter)


def _label(network: nn.Module, name: str) -> str:
    """Return a site's name without the wrapper that writes the site's output over its input."""
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
