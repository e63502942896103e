"""A worker process from the driver's side: its start, its pipe, its end."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from time import monotonic, sleep
from typing import Any

from slopewise.events import TrialKey
from slopewise.study.engines._leash import signal_group, tie, unshared, wear

READY = "ready"  # message of a worker that can take trials
GRACE = 0.5  # seconds for a worker to end by SIGTERM, before it is killed
PATIENCE = 5.0  # seconds for a worker to exit by itself
_LOOK = 0.01  # seconds between checks of a worker that should exit


@dataclass(eq=False)
class Worker:
    """A process with a pipe of its own to the driver; the pipe ends when the process does.

    Attributes:
        process: The process; it and all of its descendants end with the driver.
        pipe: The driver's end of its pipe.
        row: Number of consecutive failed starts of workers when it was started.
        ready: True once it can take trials.
        trial: Trial that it is running or about to run; None if it has none.
        begun: True once it has reported that it works on the trial.
    """

    process: SpawnProcess
    pipe: Connection
    _leash: Connection
    row: int = 0
    ready: bool = False
    trial: TrialKey | None = None
    begun: bool = False

    @classmethod
    def start(cls, serve: Callable[..., None], *arguments: Any, row: int = 0) -> Worker:
        """Start a process that calls `serve(pipe, *arguments)`, with garbage collection off until `serve` enables it.

        The process ignores Ctrl-C, and what it prints goes to stderr.

        Raises:
            OSError: The system cannot provide a process, memory or a pipe.
        """
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        line, leash = context.Pipe(duplex=False)
        unshared(ours, leash)
        process = context.Process(
            target=_run, args=(_CollectionOff(), line, os.getpid(), serve, theirs, arguments), name="slopewise-worker"
        )
        with theirs, line:  # closed here, so that the pipe ends when the worker does
            with _interrupts_held():
                process.start()
            assert process.pid is not None  # noqa: S101 - for the type checker: it has been started
            tie(line, process.pid)
        return cls(process, ours, leash, row)

    @property
    def idle(self) -> bool:
        """True if it can take a trial and has none."""
        return self.ready and self.trial is None

    def give(self, trial: TrialKey) -> None:
        """Give it a trial. If it has just died, the driver learns this from the end of its pipe."""
        self.trial, self.begun = trial, False
        self._send(trial)

    def bury(self) -> int | None:
        """Make sure that a worker whose pipe has ended is gone, and return its exit status.

        Returns:
            The exit status; the negative number of the signal that killed it; or None if it had closed its pipe and
            was still running.
        """
        _join([self], PATIENCE)
        code = self.process.exitcode
        self.kill()
        return code

    def kill(self) -> None:
        """Kill the process, if it still runs, and all processes that it has started (ranks and other helpers)."""
        self.process.kill()
        if hasattr(signal, "SIGKILL"):
            signal_group(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.pipe.close()
        self._leash.close()

    def _send(self, message: TrialKey | None) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)

    @staticmethod
    def end(workers: Sequence[Worker], *, patience: float) -> None:
        """End workers: idle ones have `patience` seconds to exit by themselves, all others are terminated at once."""
        idle = [worker for worker in workers if worker.idle]
        others = [worker for worker in workers if not worker.idle]
        try:
            for worker in idle:
                worker._send(None)
            for worker in others:
                worker.process.terminate()
            _join(others, GRACE)
            _join(idle, patience)
        finally:  # a second Ctrl-C must not leave workers behind
            for worker in workers:
                worker.kill()


class _CollectionOff:
    """Argument whose unpickling turns garbage collection off in the new process.

    The arguments after it import PyTorch. Collections look through all that an import creates, and find no garbage
    there: they take a fifth of the time.
    """

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return gc.disable, ()


def _run(
    _: None, line: Connection, driver: int, serve: Callable[..., None], pipe: Connection, arguments: Sequence[Any]
) -> None:
    wear(line, driver)
    unshared(pipe)
    os.dup2(2, 1)  # prints of a user's code must not mix with the lines of `--json`
    # Ctrl-C reaches the whole process group; the driver alone decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(pipe, *arguments)


def _join(workers: Sequence[Worker], seconds: float) -> None:
    """Wait until all have exited or `seconds` have passed; `Process.join` would wait for forked children, too."""
    deadline = monotonic() + seconds
    while any(worker.process.exitcode is None for worker in workers) and monotonic() < deadline:
        sleep(_LOOK)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C in a process that is started, which gets the signal too, until it ignores the signal by itself."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # otherwise `start` would start it, and unblock interrupts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
