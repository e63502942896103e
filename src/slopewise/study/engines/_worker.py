"""Main function of a worker process, which runs trials one after another and reports over a pipe of its own."""

from __future__ import annotations

import os
import signal
from functools import partial
from multiprocessing.connection import Connection

from slopewise.events import TrialKey
from slopewise.study._spec import StudySpec
from slopewise.study._workplace import TrialData
from slopewise.study.engines._attempt import attempt
from slopewise.study.engines._process import READY


def serve(pipe: Connection, spec: StudySpec, data: TrialData) -> None:
    """Run trials from the pipe until it delivers None or the driver is gone."""
    os.dup2(2, 1)  # prints of a user's code must not mix with the lines of `--json`
    # Ctrl-C reaches the whole process group; the driver alone decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    report = partial(_send, pipe)
    report(READY)
    while (trial := _next(pipe)) is not None:
        report(attempt(spec, trial, data, report))


def _send(pipe: Connection, message: object) -> None:
    try:
        pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the driver is gone: there is nobody to report to


def _next(pipe: Connection) -> TrialKey | None:
    try:
        return pipe.recv()  # type: ignore[no-any-return]
    except (EOFError, ConnectionResetError):
        os._exit(0)
