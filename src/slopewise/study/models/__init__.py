"""The models of a study: built with an arm's activation, from weights that depend on the seed alone."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slopewise.errors import ModelError, SlopewiseError, SpecError, nearest
from slopewise.study._references import describe, is_reference, resolve
from slopewise.study._spec import ModelSpec
from slopewise.study._streams import derive
from slopewise.study.models._cnn import cnn as cnn
from slopewise.study.models._resnet import resnet20 as resnet20

Activation = Callable[[int], nn.Module]
Builder = Callable[..., nn.Module]

MODELS: dict[str, Builder] = {"cnn": cnn, "resnet20": resnet20}


@dataclass(frozen=True)
class BuiltModel:
    """A model and the activation modules in it, by name, in the order of `named_modules`."""

    model: nn.Module
    sites: dict[str, nn.Module]

    def init_digest(self) -> str:
        """SHA-256 of every parameter and buffer outside the activations: equal in all arms of a seed."""
        # By identity: a module that stands under two names has its slopes in the state_dict twice.
        inside = {id(t) for site in self.sites.values() for t in (*site.parameters(), *site.buffers())}
        state = self.model.state_dict(keep_vars=True).values()
        return digest(t for t in state if isinstance(t, Tensor) and id(t) not in inside)


def builder(spec: ModelSpec) -> Builder:
    """The function that a model spec names, after a check of its options.

    Whatever can be made into a `Builder` can be studied: a further kind of name is a further branch here.

    Raises:
        SpecError: no such model, or a built-in one has no such option.
    """
    if is_reference(spec.name):
        return resolve(spec.name)
    if spec.name not in MODELS:
        raise SpecError(f"unknown model '{spec.name}'; {nearest(spec.name, [*MODELS, 'module:callable'])}")
    options = [p.name for p in inspect.signature(MODELS[spec.name]).parameters.values() if p.kind == p.KEYWORD_ONLY]
    for option in spec.options:
        if option not in options:
            raise SpecError(f"unknown key 'model.options.{option}' of model '{spec.name}'; {nearest(option, options)}")
    return MODELS[spec.name]


def build_model(
    spec: ModelSpec, activation: Activation, *, num_classes: int, in_channels: int, seed: int
) -> BuiltModel:
    """Build a model whose weights, slopes aside, are bitwise the same for every activation.

    The weights are drawn from torch's global generator, seeded here; what an activation draws while it is built
    comes from a stream of its own.

    Raises:
        ModelError: the builder raises, returns no module, or never uses `activation`.
    """
    made: list[nn.Module] = []

    def recording(channels: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, f"activation-{len(made)}"))
            made.append(activation(channels))
        return made[-1]

    build = builder(spec)
    torch.manual_seed(derive(seed, "init"))
    try:
        model = build(recording, num_classes, in_channels, **spec.options)
    except SlopewiseError:  # the activation's own, already in plain words
        raise
    except (Exception, SystemExit) as error:  # a user's builder can raise anything
        raise ModelError(
            f"model '{spec.name}' (activation, num_classes={num_classes}, in_channels={in_channels}) raised "
            f"{describe(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model '{spec.name}' returned {type(model).__name__}, not a torch.nn.Module")
    ours = set(map(id, made))
    sites = {name: module for name, module in model.named_modules() if id(module) in ours}
    if not sites:
        raise ModelError(
            f"model '{spec.name}' never uses its argument `activation`, so all arms would be the same: call "
            "activation(channels) wherever the network applies one"
        )
    return BuiltModel(model, sites)


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of some tensors' bytes and shapes."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(str(tuple(tensor.shape)).encode())
        total.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
