"""A study's network, and the arm's activations in it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class BuiltModel:
    """A model and the activation modules in it, by name.

    Attributes:
        model: Network that returns logits (N, classes) for images (N, C, H, W).
        sites: The arm's activations by name, in the order of `named_modules` or, in a converted model, of the forward
            pass.
        replaced: Kinds of the activations that a converted model had, by the name of the site.
        notes: Sentences about activations that conversion left unchanged, and about its assumptions.
    """

    model: nn.Module
    sites: dict[str, nn.Module]
    replaced: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def init_digest(self) -> str:
        """Return the SHA-256 of all parameters and buffers outside the activations: equal in all arms of a seed."""
        return digest(self.outside().values())

    def outside(self) -> dict[str, Tensor]:
        """Return all parameters and buffers outside the activations, by name; they are not copied."""
        state = self.model.state_dict(keep_vars=True)  # before the sites' own: it puts sharded parameters in place
        # By identity: a module that stands under two names has its slopes in the state_dict twice.
        inside = {id(t) for site in self.sites.values() for t in (*site.parameters(), *site.buffers())}
        return {name: t for name, t in state.items() if isinstance(t, Tensor) and id(t) not in inside}

    def facts(self) -> dict[str, Any]:
        """Return the facts of a conversion and the notes for the store and the report; {} if there are none."""
        counts = Counter(self.replaced.values())
        facts: dict[str, Any] = {}
        if counts:
            facts["activations_replaced"] = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        if self.notes:
            facts["conversion_notes"] = list(self.notes)
        return facts


def digest(tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of the bytes and shapes of some tensors."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(str(tuple(tensor.shape)).encode())
        total.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
