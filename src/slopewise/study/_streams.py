"""Seeded random streams, one for each purpose, so that draws for one purpose never shift those for another."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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


def seed_generators(seed: int, purpose: str) -> None:
    """Seed the global generators of Python, NumPy and PyTorch; the purpose is that of PyTorch's."""
    import numpy as np

    random.seed(derive(seed, "python"))
    np.random.seed(derive(seed, "numpy") % 2**32)  # noqa: NPY002 - the one that users' code draws from
    torch.manual_seed(derive(seed, purpose))


def generator_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and PyTorch, and of a device's, as plain data."""
    import numpy as np

    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the one that users' code draws from
    states = {
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state()
    return states


def set_generator_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Set the global generators to states from `generator_states`."""
    import numpy as np

    kind, keys, *rest = states["numpy"]
    random.setstate(states["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states["device"])


@contextmanager
def generators_kept() -> Iterator[None]:
    """Restore the global generators of Python, NumPy and PyTorch after the block."""
    import numpy as np

    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that users' code draws from
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
