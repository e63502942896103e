"""Seeded random streams, one for each purpose, so that draws for one purpose never shift those for another."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, purpose: str) -> int:
    """Return a 63-bit seed for one purpose of one trial seed, the same on every machine.

    Example:
        >>> derive(0, "order") == derive(0, "order"), derive(0, "order") == derive(0, "augment")
        (True, False)
    """
    digest = hashlib.sha256(f"{purpose}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for one purpose of one trial seed."""
    return torch.Generator().manual_seed(derive(seed, purpose))
