"""SIGTERM ends a study as Ctrl-C does: workers first, then files that only a running study has."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(SystemExit):
    """SIGTERM has come. A program that does not catch it exits with 143, without a traceback."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM finds the block, for which it would end the process on the spot.

    A second SIGTERM does so. Programs that see to the signal in their own way, and threads other than the main one,
    in which Python hears no signals, are left as they are.

    Raises:
        Terminated: SIGTERM has come.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
