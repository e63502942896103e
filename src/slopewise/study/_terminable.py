"""SIGTERM ends a study as Ctrl-C does: workers first, then files that only a running study has."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(SystemExit):
    """SIGTERM was received. A program that does not catch this exits with status 143, without a traceback."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` when SIGTERM is received inside the block, instead of ending the process at once.

    A second SIGTERM ends the process at once. Nothing changes in programs with a SIGTERM handler of their own, and in
    threads other than the main one, which cannot handle signals.

    Raises:
        Terminated: SIGTERM was received.
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
