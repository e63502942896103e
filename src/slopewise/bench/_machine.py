"""Facts about the machine that a reader needs to reproduce or assess a timing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def machine() -> dict[str, Any]:
    """Return the environment that a study records (versions, processor, operators, threads), caches, load, allocator.

    Example:
        >>> {"cpu", "cpu_operators", "cores", "threads", "torch", "caches", "memory_kept"} <= machine().keys()
        True
    """
    from slopewise.machine import environment, memory_is_kept

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**environment(), "caches": caches(_CACHES), "load_average": load, "memory_kept": memory_is_kept()}


def caches(folder: Path) -> dict[str, str]:
    """Return the sizes of the first core's caches as Linux lists them; empty on other systems.

    Example:
        >>> caches(Path("no such folder"))
        {}
    """
    sizes = {}
    for index in sorted(folder.glob("index*")):
        level, kind, size = ((index / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size"))
        sizes[f"L{level}{'' if kind == 'Unified' else ' ' + kind.lower()}"] = size
    return sizes


def heading(facts: dict[str, Any]) -> str:
    """Return the most important facts in one line.

    Example:
        >>> facts = {"cpu": "A CPU", "cores": 2, "threads": 2, "torch": "2.13.0", "memory_kept": True}
        >>> facts["cpu_operators"] = {"name": "reference", "reason": "the kernels are turned off"}
        >>> heading(facts)
        'A CPU; cores: 2; threads: 2; torch 2.13.0; operators: reference, the kernels are turned off; memory kept'
    """
    counts = f"cores: {facts['cores']}; threads: {facts['threads']}"
    operators = "operators: {name}, {reason}".format(**facts["cpu_operators"])
    memory = "memory kept" if facts["memory_kept"] else "memory returned"
    return f"{facts['cpu']}; {counts}; torch {facts['torch']}; {operators}; {memory}"
