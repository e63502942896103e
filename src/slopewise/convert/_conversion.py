"""Result of a conversion: the model, its call sites, and the measured evidence."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import nn

from slopewise.convert._original import Original, listing
from slopewise.convert._proof import Proof
from slopewise.convert._refusal import Refusal
from slopewise.errors import ConversionWarning
from slopewise.nn import BatchNormPReLU, PReLU


@dataclass(frozen=True)
class Site:
    """A converted call site.

    Attributes:
        name: Name of the module that applies the activation now.
        kind: Kind of the former activation, by the name of PyTorch's function ("relu", "relu6", ...).
        source: Former activation: the class of a module, or a function and the line of its call.
        shape: Sizes of the input on the example, such as (N, C, H, W).
        channel_dim: Dimension of the input that holds the channels.
        evidence: Source of that: the class of a layer before the site, "the shape" of an input with at most two
            dimensions, "given", or "assumed".
        slopes: Number of parameters of the new activation.
        calls: Number of calls in a forward pass; more than one if the block around is called several times.
        fused: "BatchNorm" or "BatchNorm + residual" if these and the activation are one layer, which has the name of
            the normalisation; else empty.
        differs: Property that no slope can preserve, such as the cap of ReLU6; empty if there is none.
        notes: Further notes.
    """

    name: str
    kind: str
    source: str
    shape: tuple[int, ...]
    channel_dim: int
    evidence: str
    slopes: int
    calls: int = 1
    fused: str = ""
    differs: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversion:
    """A converted model, with its call sites and the evidence; ``str()`` is a table.

    Attributes:
        model: Converted model; the one that was given is unchanged.
        sites: Converted call sites, in the order of the forward pass.
        skipped: Activations that stay as they were, each with the reason.
        proof: Measured comparison with the model given, on the example; None if it has no values (meta device).
        rewritten: Modules whose forward pass was rewritten, by name, with the way and the reason.
        notes: Further notes.
        added: Number of learned parameters that the model has more than before.
    """

    model: nn.Module
    sites: tuple[Site, ...]
    skipped: tuple[Refusal, ...]
    proof: Proof | None
    rewritten: Mapping[str, str]
    notes: tuple[str, ...]
    added: int
    _original: Original

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a checkpoint of the original model into the converted one.

        The checkpoint must hold every weight, under one of its names, and nothing else. Slopes of PReLUs in it become
        those of their sites; a shared slope is copied to every channel. Slopes of other sites stay as they are. The
        `_metadata` of a state dict is passed on. The names that wrappers add ("module.", "_orig_mod.") are removed, as
        by `slopewise.checkpoint.strip_prefixes`. For a checkpoint of the converted model itself use
        ``conversion.model.load_state_dict``.

        Raises:
            RuntimeError: The checkpoint belongs to another model; the message names the keys.

        Example:
            >>> import torch
            >>> from slopewise.convert import convert
            >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
            >>> checkpoint = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
            >>> conversion = convert(net, torch.randn(2, 4))
            >>> conversion.load_state_dict(checkpoint)
            >>> conversion.model[0].weight.sum().item(), conversion.model[1].weight[0].item()
            (32.0, 0.25)
        """
        given = self._original.to_converted(state_dict, self.model.state_dict())
        result = self.model.load_state_dict(given, strict=False)
        tensors = self.model.state_dict(keep_vars=True)  # a tensor may have several keys, one of which is enough
        present = self._new_tensors() | {id(tensors[key]) for key in given if key in tensors}
        missing = [key for key in result.missing_keys if id(tensors[key]) not in present]
        if missing or result.unexpected_keys:
            raise RuntimeError(
                f"the checkpoint is not of the model that was converted: it lacks {listing(missing)}, and has besides "
                f"{listing(result.unexpected_keys)}{self._original.hint(state_dict)}"
            )

    def original_state_dict(self, *, strict: bool = True) -> OrderedDict[str, Any]:
        """Return the converted model's weights as a state dict of the original model, in its names and shapes.

        The inverse of `load_state_dict`, for use after training, with ``fuse=True`` as well: slopes of sites that were
        PReLUs before get their former names. The tensors share memory with the model, as those of
        `torch.nn.Module.state_dict` do, except for slopes.

        Args:
            strict: If True, weights that the original model cannot hold are an error: slopes of sites that had none
                before, such as ReLUs, unless they are 0, and different slopes where the original has one: at several
                call sites of one PReLU, or in the channels of a shared one. So are keys for which the converted model
                has no value, as where activations of another kind took the place of PReLUs. If False, slopes that are
                new are left out, different ones become their mean, and the original model computes something else than
                the converted one; keys without a value are left out, with a `ConversionWarning`.

        Raises:
            RuntimeError: `strict` is True, and the original model cannot hold some weights, or the converted one lacks
                some keys of the original; the message names them.

        Example:
            >>> import torch
            >>> from slopewise.convert import convert
            >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 2, 3))
            >>> conversion = convert(net, torch.randn(2, 3, 8, 8), fuse=True)
            >>> nn.init.constant_(conversion.model[1].slope, 0.5)[0].item()
            0.5
            >>> net.load_state_dict(conversion.original_state_dict()), net[2].weight[0].item()
            (<All keys matched successfully>, 0.5)
        """
        own = self.model.state_dict()
        values, unlike, lacking = self._original.from_converted(own)
        inverse = {name for names in self._original.slopes.values() for name in names}
        new = [site for site in self.sites if not self._held(site, inverse, own)]
        without = f"the converted model has no values for keys that it lacks: {listing(lacking)}"
        if strict and (new or unlike or lacking):
            more = [f"different slopes in {listing(unlike)}"] if unlike else []
            more += [f"slopes of {listing(f'{site.name} ({site.kind})' for site in new)}"] if new else []
            reasons = [without] if lacking else []
            reasons += [f"the original model cannot hold {', and '.join(more)}"] if more else []
            raise RuntimeError(
                f"{'; '.join(reasons)}: keep the converted model's own state dict, or pass strict=False, which leaves "
                "such keys and new slopes out, and averages slopes that were one"
            )
        if lacking:
            warnings.warn(f"{without}; the state dict is without them", ConversionWarning, stacklevel=2)
        return values

    def _held(self, site: Site, names: set[str], own: Mapping[str, Any]) -> bool:
        """Return True if the original model can hold the parameters of a site's activation, under `names`."""
        activation = self.model.get_submodule(site.name)
        fused = isinstance(activation, BatchNormPReLU)
        parts = ["slope"] if fused else activation.state_dict()
        keys = {".".join(filter(None, (site.name, part))) for part in parts} - names
        return not keys or (site.kind == "relu" and _is_prelu(activation) and not any(own[key].any() for key in keys))

    def _new_tensors(self) -> set[int]:
        """Return the ids of the tensors that belong to the new activations; a tensor may have several names."""
        activations = (self.model.get_submodule(site.name) for site in self.sites)
        learned = [
            [act.slope] if isinstance(act, BatchNormPReLU) else act.state_dict(keep_vars=True).values()
            for act in activations
        ]
        return {id(tensor) for tensors in learned for tensor in tensors}

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Raise an error that names the model."""
        raise TypeError("a Conversion is no model: call conversion.model(...), or take convert(...).model at once")

    def __getattr__(self, name: str) -> NoReturn:
        known = not name.startswith("__") and hasattr(nn.Module, name)
        hint = f": the converted model has it, conversion.model.{name}" if known else ""
        raise AttributeError(f"'Conversion' object has no attribute '{name}'{hint}", name=name, obj=self)

    def __str__(self) -> str:
        from slopewise.convert._table import conversion_text

        return conversion_text(self)


def _is_prelu(activation: nn.Module) -> bool:
    """Return True for a layer that is a ReLU if its slopes are 0."""
    return isinstance(activation, (BatchNormPReLU, PReLU))
