"""SIGTERM and SIGUSR1 end a study so that the same command goes on: trials save checkpoints, then the driver exits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from slopewise.errors import StoreError
from slopewise.study._stopping import SIGNALS, request_stop, stop_requested, withdraw_stop


class Terminated(SystemExit):
    """The study was asked to end by SIGTERM or SIGUSR1.

    A program that does not catch this exits with `status`, without a traceback.

    Attributes:
        status: 75, which is EX_TEMPFAIL in sysexits.h: run the same command again.
    """

    status = 75

    def __init__(self) -> None:
        super().__init__(self.status)


class Termination:
    """Reaction to SIGTERM and SIGUSR1: `Terminated` is raised at once, or at the end of a `deferred` block."""

    def __init__(self) -> None:
        self._deferred = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block see the request (`stop_requested`), which ends by itself, and raise `Terminated` after it."""
        self._deferred = True
        try:
            yield
        except StoreError as error:  # the store could not be used any more: what was not stored runs again
            if stop_requested():
                raise Terminated from error
            raise
        finally:
            self._deferred = False
        if stop_requested():
            raise Terminated

    def request(self) -> None:
        """Take a signal."""
        request_stop()
        if not self._deferred:
            raise Terminated


@contextmanager
def terminable() -> Iterator[Termination]:
    """Raise `Terminated` when SIGTERM or SIGUSR1 is received inside the block, instead of ending the process at once.

    A second signal ends the process at once. Nothing changes in programs with handlers of their own, which may call
    `request_stop`, and in threads other than the main one, which cannot handle signals.

    Raises:
        Terminated: One of the signals was received.
    """
    termination = Termination()
    usual = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        usual = []

    def end(*_: object) -> None:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)
        termination.request()

    for number in usual:
        signal.signal(number, end)
    try:
        yield termination
    finally:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)
        withdraw_stop()
