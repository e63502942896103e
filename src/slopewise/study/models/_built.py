"""A study's network, and which of its modules are the arm's."""

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
        model: returns logits (N, classes) for images (N, C, H, W).
        sites: the arm's activations, in the order of `named_modules` or, where a model was converted, of its forward
            pass.
        replaced: of a converted model, what kind of activation stood at each site.
        notes: what conversion left as it was or assumed, in words.
    """

    model: nn.Module
    sites: dict[str, nn.Module]
    replaced: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def init_digest(self) -> str:
        """SHA-256 of every parameter and buffer outside the activations: equal in all arms of a seed."""
        # By identity: a module that stands under two names has its slopes in the state_dict twice.
        inside = {id(t) for site in self.sites.values() for t in (*site.parameters(), *site.buffers())}
        state = self.model.state_dict(keep_vars=True).values()
        return digest(t for t in state if isinstance(t, Tensor) and id(t) not in inside)

    def facts(self) -> dict[str, Any]:
        """What the store and the report say about a conversion; nothing for a model that was not converted."""
        counts = Counter(self.replaced.values())
        facts: dict[str, Any] = {}
        if counts:
            facts["activations_replaced"] = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        if self.notes:
            facts["conversion_notes"] = list(self.notes)
        return facts


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of some tensors' bytes and shapes."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(str(tuple(tensor.shape)).encode())
        total.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
