"""Ranks of a trial on several devices: one process for each device, started here, and ended together.

Fabric's own launchers do not fit. That of `ddp` and of `ModelParallelStrategy` runs the program's command again for
each rank, but a trial runs in a worker, which has no command of its own. That of `ddp_spawn` has hung at the end of
long trials. So the ranks are processes of Python's `multiprocessing`, and Fabric is told that they exist, as under
`torchrun`: by environment variables, with the store that the ranks meet at in this process. It listens on a port that
the system chose, so that trials side by side cannot take the same one.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch.multiprocessing
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from slopewise.machine import keep_memory, memory_is_kept

T = TypeVar("T")
Report = Callable[..., None]
"""Function that takes any arguments that can be pickled."""

_GRACE = 0.3  # seconds in which the death of a rank explains the error of another
_PATIENCE = 20.0  # seconds in which ranks end by themselves once they have returned
_LOCAL = "127.0.0.1"


class RankError(Exception):
    """A rank has raised an exception; the message ends with its traceback."""


class RankLost(Exception):  # noqa: N818 - "lost", as a worker is
    """The process of a rank has ended before it returned; the message is a clause with a subject."""


@dataclass(frozen=True)
class _Returned:
    value: Any


@dataclass(frozen=True)
class _Raised:
    trace: str


@dataclass(frozen=True)
class _Reported:
    args: tuple[Any, ...]


def on_ranks(count: int, work: Callable[[Report], T], report: Report | None = None) -> T:
    """Call a function in `count` new processes, in each of which `Fabric.launch` joins the others.

    No rank outlives the call. If one raises or dies, the others are killed at once: they may wait for it in a
    collective operation.

    Args:
        count: Number of processes.
        work: Function that can be pickled. Its argument is a function that passes its own arguments to `report`; in all
            ranks but the first, it does nothing.
        report: Called in this process.

    Returns:
        The value that rank 0 has returned.

    Raises:
        RankError: A rank has raised.
        RankLost: A rank's process has died.
    """
    store = TCPStore(_LOCAL, 0, is_master=True, wait_for_workers=False)
    ranks = list[_Rank]()
    try:
        while len(ranks) < count:
            ranks.append(_Rank(len(ranks), count, store.port, work))
        returned: dict[int, T] = {}
        while len(returned) < count:
            for rank, message in _messages([rank for rank in ranks if rank.number not in returned]):
                if isinstance(message, _Reported):
                    if report:
                        report(*message.args)
                elif isinstance(message, _Returned):
                    returned[rank.number] = message.value
                else:
                    raise _cause(rank, message, ranks)
        for rank in ranks:
            rank.release()
        return returned[0]
    finally:
        for rank in ranks:
            rank.kill()


class _Rank:
    """Process of one rank, seen from the process that has started it."""

    def __init__(self, number: int, count: int, port: int, work: Callable[[Report], Any]) -> None:
        self.number, self.count = number, count
        context = torch.multiprocessing.get_context("spawn")  # shares tensors with the process instead of copying them
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(other, number, port, memory_is_kept(), work), name=f"rank {number}", daemon=False
        )
        self.process.start()
        other.close()

    def lost(self) -> RankLost:
        """Return the way in which the process has ended."""
        self.process.join()
        code = self.process.exitcode or 0
        memory = "; if nobody killed it, memory may have run out" if code == -getattr(signal, "SIGKILL", 9) else ""
        how = f"was killed by signal {-code}{memory}" if code < 0 else f"exited with status {code}"
        return RankLost(f"the process of rank {self.number} of {self.count} {how}")

    def release(self) -> None:
        """Let the process end, which has returned."""
        self.pipe.close()

    def kill(self) -> None:
        """End the process, at once unless it was released."""
        if self.pipe.closed:
            self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _messages(ranks: Sequence[_Rank]) -> Iterator[tuple[_Rank, Any]]:
    """Wait, and yield each message that is there with its sender; None is the end of a process."""
    ready = wait([end for rank in ranks for end in (rank.pipe, rank.process.sentinel)])
    for rank in ranks:
        try:
            if rank.pipe.poll():  # what a process has sent is there after its end
                yield rank, rank.pipe.recv()
            elif rank.process.sentinel in ready:
                yield rank, None
        except (EOFError, OSError):  # OSError: it died in the middle of a message
            yield rank, None


def _cause(rank: _Rank, message: _Raised | None, ranks: Sequence[_Rank]) -> Exception:
    """Return the exception for a rank that has raised or died: when one has died, another raises a lost connection."""
    if message is None:
        return rank.lost()
    dead = wait([other.process.sentinel for other in ranks], timeout=_GRACE)
    for other in ranks:
        if other.process.sentinel in dead:
            return other.lost()
    return RankError(f"rank {rank.number} of {rank.count} raised\n{message.trace}")


def _serve(pipe: Connection, number: int, port: int, keep: bool, work: Callable[[Report], Any]) -> None:
    """Main function of a rank's process, which keeps its memory if the process that starts it does."""
    if keep:
        keep_memory()
    threading.Thread(target=_end_with_parent, name="slopewise-rank", daemon=True).start()
    os.environ |= {
        "LOCAL_RANK": str(number),
        "NODE_RANK": "0",
        "MASTER_ADDR": _LOCAL,
        "MASTER_PORT": str(port),
        # Store of the launcher, which the ranks do not open themselves. torchrun sets these, too.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }

    def report(*args: Any) -> None:
        if number == 0:
            pipe.send(_Reported(args))

    message: _Returned | _Raised
    try:
        message = _Returned(work(report))
    except BaseException:  # sys.exit in a user's model, too, would leave the other ranks waiting
        message = _Raised(traceback.format_exc())
    pipe.send(message if number == 0 or isinstance(message, _Raised) else _Returned(None))
    with suppress(EOFError, OSError):
        pipe.recv()  # until the parent has it: the end of this process would make the other ranks raise as well


def _end_with_parent() -> None:
    """Kill this process when its parent has ended, whatever operation it waits in."""
    parent = torch.multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
