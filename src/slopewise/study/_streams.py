"""Seeded random streams: one for each purpose, so that what one arm draws cannot shift what another one sees."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of one trial seed, the same on every machine.

    Example:
        >>> derive(0, "order") == derive(0, "order"), derive(0, "order") == derive(0, "augment")
        (True, False)
    """
    digest = hashlib.sha256(f"{purpose}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator that only this purpose of this seed draws from."""
    return torch.Generator().manual_seed(derive(seed, purpose))
