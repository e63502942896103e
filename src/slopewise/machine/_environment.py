"""Environment of a trial: versions, processor, operators, threads."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from slopewise import ops
from slopewise.machine._cores import cores


def environment() -> dict[str, Any]:
    """Return the facts of this process that a reader needs to reproduce or question a figure."""
    return {
        "slopewise": version("slopewise"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "lightning-fabric": version("lightning-fabric"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_operators": asdict(ops.backend()),  # name and reason: they can change the last bits, and the times
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


@cache
def version(package: str) -> str:
    """Return the version of an installed package, whose files are read once: a short trial asks several times."""
    return metadata.version(package)


def cpu_name() -> str:
    """Return the processor's name as the operating system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def environment_digest(facts: dict[str, Any]) -> str:
    """Return a short name for an environment: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
