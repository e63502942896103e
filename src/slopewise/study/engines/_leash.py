"""The tie between a driver and a worker: when the driver ends, the worker ends with all that it has started.

A worker leads a process group, which contains everything that it starts: ranks of a trial, workers of data loaders,
programs. The driver holds the writing end of a pipe that nothing is ever written to. When the driver ends, for
whatever reason, that end is closed, and on Linux the kernel sends SIGKILL to the group. The worker need not run for
that, so a worker that is stopped, or holds Python's lock in one long call, ends as well. In addition, and alone on
other systems, a thread of the worker waits for the closed pipe and kills the group.

A process that leaves the group (`start_new_session=True`) is not reached. The thread starts after the worker has
imported the main module: if the driver ends earlier, the worker ends at once on Linux, and after the import elsewhere.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOOK = 0.5  # seconds between looks at the parent
_UNSHARED: WeakSet[Connection] = WeakSet()


def unshared(*connections: Connection) -> None:
    """Close connections in the children that this process forks.

    The end of a pipe tells the other side that the process has ended, which an inherited copy in a forked child would
    delay.
    """
    _UNSHARED.update(connections)


def _close_unshared() -> None:
    for connection in list(_UNSHARED):
        connection.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_unshared)


def tie(line: Connection, target: int) -> None:
    """Have the kernel send SIGKILL when the other end of a pipe is closed; do nothing where it cannot.

    Args:
        line: Reading end of a pipe that nothing is written to; the caller must keep it open.
        target: Number of the process, or minus the number of the process group.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return
    with suppress(OSError):  # kernels that imitate Linux may refuse it; the thread does not need it
        fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(line, fcntl.F_SETOWN, target)
        fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)


def wear(line: Connection, driver: int) -> None:
    """Make this process the head of a group that ends with the driver.

    Args:
        line: Reading end of the pipe whose other end the driver holds.
        driver: Number of the driver's process.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
        tie(line, -os.getpid())
    Thread(target=_watch, args=(line, driver), name="slopewise-leash", daemon=True).start()


def signal_group(pid: int | None, number: int) -> None:
    """Send a signal to a worker and all that it has started; do nothing if it has no group yet, or is gone."""
    if pid is not None and hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # the latter on macOS, if it has just ended
            os.killpg(pid, number)


def _watch(line: Connection, driver: int) -> None:
    with suppress(OSError):  # Windows: the other end is closed
        while not hasattr(os, "setpgid") or os.getppid() == driver:
            if line.poll(_LOOK):
                break
    if hasattr(signal, "SIGKILL"):
        signal_group(os.getpid(), signal.SIGKILL)
    os._exit(1)
