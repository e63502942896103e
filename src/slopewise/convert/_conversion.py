"""Result of a conversion: the model, its call sites, and the measured evidence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Tensor, nn

from slopewise.convert._proof import Proof
from slopewise.convert._refusal import Refusal
from slopewise.nn import BatchNormPReLU


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
    _slopes_of: Mapping[str, tuple[str, ...]]  # by key of slopes in the model given, the keys that hold them now
    _aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # keys that were one tensor in that model

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a checkpoint of the original model into the converted one.

        The checkpoint must hold every weight, under one of its names, and nothing else. Slopes of PReLUs in it become
        those of their sites; a shared slope is copied to every channel. Slopes of other sites stay as they are. The
        `_metadata` of a state dict is passed on. For a checkpoint of the converted model itself use
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
        own = self.model.state_dict()
        given: OrderedDict[str, Any] = OrderedDict()
        for key, value in self._under_all_names(state_dict).items():
            for target in self._slopes_of.get(key, (key,)):
                fits = target in own and isinstance(value, Tensor) and key in self._slopes_of
                given[target] = _as_many(value, own[target]) if fits else value
        # Versions of the modules that wrote the checkpoint, for which load_state_dict() has no argument: without them,
        # modules take it for one of their first version, and may convert or miss keys.
        if (metadata := getattr(state_dict, "_metadata", None)) is not None:
            given._metadata = metadata  # type: ignore[attr-defined]
        result = self.model.load_state_dict(given, strict=False)
        tensors = self.model.state_dict(keep_vars=True)  # a tensor may have several keys, one of which is enough
        present = self._new_tensors() | {id(tensors[key]) for key in given if key in tensors}
        missing = [key for key in result.missing_keys if id(tensors[key]) not in present]
        if missing or result.unexpected_keys:
            raise RuntimeError(
                f"the checkpoint is not of the model that was converted: it lacks {_listing(missing)}, and has besides "
                f"{_listing(result.unexpected_keys)}"
            )

    def _new_tensors(self) -> set[int]:
        """Return the ids of the tensors that belong to the new activations; a tensor may have several names."""
        activations = (self.model.get_submodule(site.name) for site in self.sites)
        learned = [
            [act.slope] if isinstance(act, BatchNormPReLU) else act.state_dict(keep_vars=True).values()
            for act in activations
        ]
        return {id(tensor) for tensors in learned for tensor in tensors}

    def _under_all_names(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state dict with tied tensors under all their names in the original model.

        A file may hold one name of a tied tensor, as safetensors does. In the converted model it may be tied no longer.
        """
        others = {other: key for key in state_dict for other in self._aliases.get(key, ()) if other not in state_dict}
        return {**state_dict, **{other: state_dict[key] for other, key in others.items()}}

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


def _as_many(slopes: Tensor, like: Tensor) -> Tensor:
    """Return slopes of a PReLU in the number that its site holds: repeated for every channel, or their mean."""
    flat = slopes.flatten()
    if flat.numel() == like.numel():
        return flat
    return flat.mean(0, keepdim=True).to(flat.dtype) if like.numel() == 1 else flat.expand(like.numel())


def _listing(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "") if keys else "nothing"
