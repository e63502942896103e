"""Requests that the trials of this process stop early, and go on later from their checkpoints.

A request is a flag of the process, which may be set at any moment, by a signal handler or by any thread. A trial looks
at it after each step of training: it saves a checkpoint and ends without a record.
"""

from __future__ import annotations

import os
import signal
from threading import Event

_requested = Event()
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
)  # of Slurm, Kubernetes and supervisors; SIGUSR1 by `#SBATCH --signal=B:USR1@60`


class TrialStopped(BaseException):
    """Raised in a trial that ends without a record, because it was asked to; the trial runs again later.

    No subclass of Exception, which the code of a training function may catch and go on.
    """


def request_stop() -> None:
    """Ask the trials of this process to stop early; a second call changes nothing.

    Example:
        >>> request_stop()
        >>> stop_requested()
        True
        >>> withdraw_stop()
        >>> stop_requested()
        False
    """
    _requested.set()


def stop_requested() -> bool:
    """Return True if the trials of this process are asked to stop early."""
    return _requested.is_set()


def stop_if_requested() -> None:
    """Raise `TrialStopped` if the trials of this process are asked to stop early."""
    if stop_requested():
        raise TrialStopped


def withdraw_stop() -> None:
    """Forget that a stop was requested, before other trials run in this process."""
    _requested.clear()


def stop_on_signals() -> None:
    """Make SIGTERM and SIGUSR1 requests to stop, in this process alone: in children that it forks they end it."""
    for number in SIGNALS:
        signal.signal(number, _on_signal)


def _on_signal(*_: object) -> None:
    request_stop()


def _as_usual() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):  # a pool of a user's code ends its processes by SIGTERM
    os.register_at_fork(after_in_child=_as_usual)
