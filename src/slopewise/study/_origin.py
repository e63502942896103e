"""Origins of processes, which distinguish processes of the same number at other times or in other places."""

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
        host: Name of the process's machine.
        boot: Identifier of the machine's boot, which changes with every boot; "" if there is none.
        space: Name of the PID namespace, of which each container has its own; "" if there is none.
        born: Start time of the process in the kernel's ticks since boot; None if it is unknown.
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
    """Return True if a process is known to have ended; False if it runs, or this process cannot find out.

    A machine that was rebooted cannot be distinguished from another of the same name: False, too; see `moved`.

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
    """Return True if the host name is this machine's and the boot is not: it was rebooted, or is another machine."""
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
    """Return the letter of a process's state and the time of its start; None if they are unknown."""
    try:
        # The name, which comes before, stands in brackets and may hold spaces and brackets.
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return words[0], int(words[19])
