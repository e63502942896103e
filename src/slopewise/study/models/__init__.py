"""The models of a study: networks with an arm's activation, whose weights depend on the seed alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.errors import ModelError, SpecError
from slopewise.study._spec_tables import ConvertSpec, ModelSpec
from slopewise.study._streams import derive, generators_kept
from slopewise.study.models._built import BuiltModel as BuiltModel
from slopewise.study.models._built import digest as digest
from slopewise.study.models._checkpoint import checkpoint_facts as checkpoint_facts
from slopewise.study.models._checkpoint import load_checkpoint_
from slopewise.study.models._cnn import cnn as cnn
from slopewise.study.models._continued import continue_from_ as continue_from_
from slopewise.study.models._converted import Make, converted
from slopewise.study.models._converted import hint_for_size as hint_for_size
from slopewise.study.models._espcn import espcn as espcn
from slopewise.study.models._layout import laid_out
from slopewise.study.models._libraries import LIBRARIES as LIBRARIES
from slopewise.study.models._recipe import MODELS as MODELS
from slopewise.study.models._recipe import Activation as Activation
from slopewise.study.models._recipe import Recipe as Recipe
from slopewise.study.models._recipe import recipe as recipe
from slopewise.study.models._resnet import resnet20 as resnet20
from slopewise.study.models._unet import unet as unet


def build_model(
    spec: ModelSpec,
    activation: Activation | None,
    *,
    num_classes: int,
    in_channels: int,
    upscale: int = 1,
    dimensions: int = 2,
    seed: int,
    example: Tensor | None = None,
) -> BuiltModel:
    """Build a model whose weights, slopes aside, are bitwise the same for every activation.

    The weights are drawn from torch's global generator, seeded here, and then read from the spec's checkpoint if it
    has one; random draws during the construction of an activation come from a stream of their own. An ordinary network
    is built without the activation, which replaces the network's own ones afterwards.

    Args:
        spec: Spec of the network.
        activation: Factory of the arm's activation; None leaves an ordinary network its own activations.
        num_classes: Number of outputs, or of channels of the output.
        in_channels: Number of channels of the data's images.
        upscale: Size of target images in sizes of the images.
        dimensions: Number of spatial axes of the images.
        seed: Seed of the trial.
        example: Two or more images (N, C, H, W) on which an ordinary network is run for its conversion.

    Raises:
        ModelError: The builder raises, returns no module, or never uses `activation`; an ordinary network cannot be
            converted; the checkpoint does not fit.
    """
    making = recipe(spec)
    made: list[nn.Module] = []
    make = _maker(seed, made)

    def recording(channels: int) -> nn.Module:
        if activation is None:
            raise SpecError(f"model '{spec.name}' has no activations of its own to keep")
        return make(activation, channels)

    arguments: dict[str, Any] = {"activation": recording, "num_classes": num_classes, "in_channels": in_channels}
    arguments |= {"upscale": upscale, "dimensions": dimensions}
    torch.manual_seed(derive(seed, "init"))
    model = making.network(**arguments)
    if torch.initial_seed() != derive(seed, "init"):
        raise ModelError(
            f"model '{spec.name}' sets the seed of torch's generator while it is built, so that all seeds of the study "
            "would start from the same weights: take its manual_seed (or seed_everything) out"
        )
    if not making.ordinary:
        return laid_out(_with_sites(model, spec, made), spec)
    notes = load_checkpoint_(model, spec)
    if example is None:
        raise ValueError("an ordinary network needs example images to be converted")
    try:
        built = converted(model, activation, make, example, spec.convert)
    except ModelError as error:
        raise ModelError(f"model '{spec.name}' {error}") from error
    built.model.register_forward_hook(_logits)
    return laid_out(replace(built, notes=(*notes, *built.notes)), spec)


def convert_for_arm(
    model: nn.Module, activation: Activation | None, example: Any, options: ConvertSpec, *, seed: int
) -> BuiltModel:
    """Convert a network that a user has built to an arm, and leave the global random generators as they were.

    Args:
        model: Network with its initial weights; must not be used afterwards.
        activation: Factory of the arm's activation; None keeps the network's own.
        example: Input for a forward pass: a tensor, or a tuple or dict of arguments.
        options: Selection of the activations to convert.
        seed: Seed of the trial.

    Raises:
        ModelError: The network does not run on the example, or has no activations to convert.
    """
    with generators_kept():
        return converted(model, activation, _maker(seed, []), example, options, resized=False)


def _maker(seed: int, made: list[nn.Module]) -> Make:
    """Return a function that makes activations, each with random numbers of its own, and adds them to `made`."""

    def make(factory: Activation, channels: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, f"activation-{len(made)}"))
            made.append(factory(channels))
        return made[-1]

    return make


def _with_sites(model: nn.Module, spec: ModelSpec, made: list[nn.Module]) -> BuiltModel:
    ours = set(map(id, made))
    sites = {name: module for name, module in model.named_modules() if id(module) in ours}
    if not sites:
        raise ModelError(
            f"model '{spec.name}' never uses its argument `activation`, so all arms would be the same: call "
            "activation(channels) wherever the network applies one"
        )
    return BuiltModel(model, sites, notes=load_checkpoint_(model, spec, sites))


def _logits(model: nn.Module, args: object, output: object) -> object:  # noqa: ARG001 - the signature of a hook
    """Return the logits of an output that holds them by name, as transformers' do; other outputs stay unchanged."""
    if isinstance(output, dict) and not hasattr(output, "logits"):
        return output.get("logits", output.get("out", output))  # "out" in torchvision's segmentation networks
    return getattr(output, "logits", output)
