"""One attempt at one trial, as a task in a worker process of Ray."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from slopewise.events import TrialKey
from slopewise.study._origin import origin
from slopewise.study._stopping import SIGNALS, stop_on_signals, withdraw_stop
from slopewise.study.engines._base import Report
from slopewise.study.engines._ray._mailbox import Letter, Place
from slopewise.study.engines._ray._setup import Setup


def trial_attempt(box: list[Any], setup: list[Any], number: int, trial: TrialKey) -> tuple[Place, list[Report], Report]:
    """Make an attempt; send its reports to the mailbox, and return its place and all of them with the end.

    Args:
        box: List of the mailbox.
        setup: List of the reference to the study's `Setup`.
        number: Number of the attempt in its session.
        trial: The trial.
    """
    import ray

    from slopewise.study.engines._attempt import attempt

    place = _place()
    shared = Setup.fetched(setup)
    reports: list[Report] = []

    def report(news: Report) -> None:
        sent = box[0].put.remote(Letter(number, place, len(reports), news))
        reports.append(news)
        if len(reports) == 1:  # the driver must know that the trial has begun, even if it ends this process at once
            with suppress(ray.exceptions.RayActorError):
                ray.get(sent)

    with _stoppable():
        end = attempt(shared.spec, trial, shared.data, report)
    return place, reports, end


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 ask the trial to stop; outside the block they end the process, as Ray has it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop_on_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        withdraw_stop()  # this process may get the same trial again


def _place() -> Place:
    """Return the place of this process, and make it the head of a process group, in which it can be killed."""
    import ray

    os.dup2(2, 1)  # prints of a user's code, and of the programs that it starts, must not mix with a driver's results
    if hasattr(os, "setpgid") and os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    here = origin()
    return Place(ray.get_runtime_context().get_node_id(), here.host, os.getpid(), here)
