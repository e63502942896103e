"""Ctrl-Z for a whole study, whose workers have process groups of their own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from slopewise.study.engines._leash import signal_group
from slopewise.study.engines._process import Worker


@contextmanager
def stopped_together(workers: Sequence[Worker]) -> Iterator[None]:
    """Stop these workers when Ctrl-Z stops this process, and resume them with it.

    Args:
        workers: List of the present workers, which changes whenever one starts or ends.
    """
    usual = hasattr(signal, "SIGTSTP") and signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
    if not usual or threading.current_thread() is not threading.main_thread():
        yield  # Windows, or a program with its own handler of the signal
        return

    def stop(*_: object) -> None:
        for worker in workers:
            signal_group(worker.process.pid, signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)  # this process stops here, and resumes here
        signal.signal(signal.SIGTSTP, stop)
        for worker in workers:
            signal_group(worker.process.pid, signal.SIGCONT)

    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # else it stays, with no worker to stop
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
