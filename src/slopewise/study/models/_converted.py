"""Conversion of an ordinary network to an arm: the arm's activation replaces the network's own ones."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from slopewise.activations import SIGN
from slopewise.convert import Conversion, SiteContext, convert
from slopewise.errors import ConversionError, ConversionWarning, ModelError
from slopewise.study._spec_tables import ConvertSpec
from slopewise.study.models._built import BuiltModel
from slopewise.study.models._recipe import Activation

Make = Callable[[Activation, int], nn.Module]  # an activation for a number of channels, in its own random stream
_SMALL = 32  # pixels; deep networks halve their images five times


def converted(
    model: nn.Module,
    activation: Activation | None,
    make: Make,
    example: Any,
    options: ConvertSpec,
    *,
    resized: bool = True,
) -> BuiltModel:
    """Return the network with an arm's activation at every site; None puts a separate copy of the site's own there.

    All arms are converted in the same way, including the control and None, so that they differ only in the activations.

    Args:
        model: Network with its initial weights; must not be used afterwards.
        activation: Factory of the arm's activation, called with the number of channels; None keeps the network's own.
        make: Function that calls the factory in a random stream of its own.
        example: Images on which the network is run, or a tuple or dict of its arguments.
        options: Selection of the activations to convert.
        resized: True if the study's data settings decide the size of the images, which an error then mentions.

    Raises:
        ModelError: The network does not run on the example, with its own activations or the arm's, or has none; or an
            activation with parameters has no `channel_dim` to set at a site whose channels are not in dimension 1.
    """
    sites: dict[str, nn.Module] = {}
    replaced: dict[str, str] = {}

    def build(site: SiteContext) -> nn.Module:
        new = _own(site) if activation is None else make(activation, site.channels)
        _tell_channel_dim(new, site)
        sites[site.name], replaced[site.name] = new, site.kind
        return new

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConversionWarning)  # their contents are in the notes
            conversion = convert(
                model,
                example,
                to=build,
                only=options.only,
                skip=options.skip or None,
                call_sites=options.call_sites,
                channel_dim=options.channel_dim,
            )
    except ConversionError as error:
        images = isinstance(example, Tensor) and example.ndim in (4, 5)
        where = f"on images {tuple(example.shape)}" if images else "on the example"
        if sites:  # they were built before it failed
            where += f", with {', '.join(sorted({type(site).__name__ for site in sites.values()}))} as its activation"
        raise ModelError(f"{where}: {error}{hint_for_size(example) if images and resized else ''}") from error
    return BuiltModel(conversion.model, sites, replaced, _notes(conversion))


def hint_for_size(images: Tensor) -> str:
    """Return a hint for a network that does not run on images, perhaps because of their size."""
    sizes = images.shape[2:]
    if len(sizes) > 2:
        return f". The images are volumes of {' x '.join(map(str, sizes))}: is it a network for volumes?"
    size = f"{' x '.join(map(str, sizes))} pixels"
    if min(sizes) >= _SMALL:
        return f". The images have {size} (a folder's are resized to data.image_size): does it need another size?"
    return (
        f". Images of {size} may be too small for it: take larger ones (a folder's are resized to data.image_size), or "
        "by model.options a network that halves them less often"
    )


def _own(site: SiteContext) -> nn.Module:
    """Return a copy of the network's own activation; copies of one module share its parameters, as in the network."""
    own = copy.deepcopy(site.module, {id(parameter): parameter for parameter in site.module.parameters()})
    if getattr(own, "inplace", False):  # conversion writes the output over the input where the network reads it again
        own.inplace = False  # type: ignore[assignment]
    return own


def _tell_channel_dim(activation: nn.Module, site: SiteContext) -> None:
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
    unchanged = [f"{refusal.name} ({refusal.kind}) stays as it is: {refusal.reason}" for refusal in conversion.skipped]
    loud = [note for note, refusal in zip(unchanged, conversion.skipped, strict=True) if not refusal.quiet]
    assumed = [
        f"{site.name}: nothing tells which dimension of its input {site.shape} holds the channels, and "
        f"{site.channel_dim} is assumed; model.convert.channel_dim says it"
        for site in conversion.sites
        if site.evidence == "assumed"
    ]
    signs = [f"{site.name}: {note}" for site in conversion.sites for note in site.notes if note.startswith(SIGN)]
    return (*loud, *assumed, *signs, *(note for note in unchanged if note not in loud))
