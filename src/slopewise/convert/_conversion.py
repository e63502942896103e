"""What a conversion has to show: the model, its call sites, and the measured evidence."""

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
    """One call site that was converted.

    Attributes:
        name: of the module that applies the activation now.
        kind: of the activation that was there, as PyTorch's function is called ("relu", "relu6", ...).
        source: what was there: a module's class, or a function and the place of its call.
        shape: of its input on the example.
        channel_dim: the dimension of that input which holds the channels.
        evidence: the layer that says so, "the shape" of a two-dimensional input, "given", or "assumed".
        slopes: how many slopes it has now.
        calls: how often it is applied in a forward pass; more than once where its block is.
        fused: "BatchNorm" or "BatchNorm + residual" where these and the activation are one layer, which has the name of
            the normalisation; else empty.
        differs: what is no longer equal in principle, even with the best slope; empty where all is.
        notes: what else is worth knowing.
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
    """A converted model and what is known of it; ``str()`` is a table.

    Attributes:
        model: the new model; the one that was given is unchanged.
        sites: what was converted, in the order of the forward pass.
        skipped: activations that stay as they were, each with the reason.
        proof: how far the model is from the one given, measured on the example; None where it has no values (meta).
        rewritten: modules whose forward pass was rewritten, by name: how, and why replacing modules did not do.
        notes: what else is worth knowing.
        added: learned parameters that the model has more than before.
    """

    model: nn.Module
    sites: tuple[Site, ...]
    skipped: tuple[Refusal, ...]
    proof: Proof | None
    rewritten: Mapping[str, str]
    notes: tuple[str, ...]
    added: int
    _slopes_of: Mapping[str, tuple[str, ...]]  # a key of the model given, and the keys that took its slopes over
    _aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # keys that were one tensor in that model

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a checkpoint of the model that was converted into the converted one.

        All weights must be there, under one of their names, and none be left over. Slopes of PReLUs in the checkpoint
        become those of their sites; a shared one is copied to every channel. Other sites' slopes stay as they are. The
        `_metadata` of a state dict is handed on. For a checkpoint of the converted model itself use
        ``conversion.model.load_state_dict``.

        Raises:
            RuntimeError: the checkpoint is of another model; the message names the keys.

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
        if (metadata := getattr(state_dict, "_metadata", None)) is not None:  # versions of the modules that wrote it
            given._metadata = metadata  # type: ignore[attr-defined]
        found = self.model.load_state_dict(given, strict=False)
        tensors = self.model.state_dict(keep_vars=True)  # of several names each, some of them
        there = self._new_tensors() | {id(tensors[key]) for key in given if key in tensors}
        missing = [key for key in found.missing_keys if id(tensors[key]) not in there]
        if missing or found.unexpected_keys:
            raise RuntimeError(
                f"the checkpoint is not of the model that was converted: it lacks {_listing(missing)}, and has besides "
                f"{_listing(found.unexpected_keys)}"
            )

    def _new_tensors(self) -> set[int]:
        """The ids of what the sites have learned, or will; a tensor may have several names."""
        activations = (self.model.get_submodule(site.name) for site in self.sites)
        learned = [
            [act.slope] if isinstance(act, BatchNormPReLU) else act.state_dict(keep_vars=True).values()
            for act in activations
        ]
        return {id(tensor) for tensors in learned for tensor in tensors}

    def _under_all_names(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """A file may have one name of a tied tensor, as safetensors' do; here its sites may be tied no more."""
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
    """Slopes of a PReLU as its site holds them: one for every channel, or their mean for all."""
    flat = slopes.flatten()
    if flat.numel() == like.numel():
        return flat
    return flat.mean(0, keepdim=True).to(flat.dtype) if like.numel() == 1 else flat.expand(like.numel())


def _listing(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "") if keys else "nothing"
