"""Activations and layers that stay as they are, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """An activation or a layer that stays as it is.

    Attributes:
        name: Name of the call site or of the layer. ``only=`` with this very name converts an activation that stays for
            its role in the model, such as a gate.
        kind: Kind of the activation, such as "relu", or class of the layer.
        reason: Reason for which it stays, in words.
        reached: False if the example does not reach it.
        quiet: True if it is meant to stay, as a gate is, so that no warning is due.
    """

    name: str
    kind: str
    reason: str
    reached: bool = True
    quiet: bool = False


class StaysError(Exception):
    """Reason for which a layer stays as it is, in words."""
