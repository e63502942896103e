"""Processes told apart from others that have the same number: earlier, later, or in another place."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """Place and time that a process's number belongs to.

    Attributes:
        host: Name of its machine.
        boot: Identifier of the machine's present run, until it is booted again; empty where there is none.
        space: Name of what numbers the processes, which each container has for itself; empty where there is none.
        born: Time of the start of the process in the kernel's ticks since it was booted; None where it is not known.
    """

    host: str
    boot: str = ""
    space: str = ""
    born: int | None = None


def origin() -> Origin:
    """Return the origin of this process.

    Example:
        >>> has_ended(os.getpid(), origin())
        False
    """
    state = _state(os.getpid())
    return Origin(*_place(), state[1] if state else None)


def has_ended(pid: int, origin: Origin) -> bool:
    """Return whether a process is known to have ended; False where that cannot be told from here.

    A machine that has been booted since cannot be told from another of the same name: False as well, see `moved`.

    Args:
        pid: Number of the process.
        origin: Origin of the process.
    """
    if os.name != "posix" or (origin.host, origin.boot, origin.space) != _place():
        return False
    state = _state(pid)
    if state is not None:
        word, born = state
        return word in "ZX" or (origin.born is not None and born != origin.born)
    try:
        os.kill(pid, 0)  # no /proc, or one that hides the processes of others
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def moved(origin: Origin) -> bool:
    """Return whether the machine of this name was booted since, if it is the same."""
    host, boot, _ = _place()
    return origin.host == host and origin.boot != boot


@cache
def _place() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        boot, space = "", ""
    return platform.node(), boot, space


def _state(pid: int) -> tuple[str, int] | None:
    """Return the letter of a process's state and the time of its start; None where nothing tells them."""
    try:
        # The name, which comes before, stands in brackets and may hold spaces and brackets.
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return words[0], int(words[19])
