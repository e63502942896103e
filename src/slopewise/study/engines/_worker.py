"""Main function of a worker process, which runs trials one after another and reports over a pipe of its own."""

from __future__ import annotations

import gc
import importlib
import math
import os
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from slopewise.events import TrialKey
from slopewise.study._spec import StudySpec
from slopewise.study._stopping import stop_on_signals, stop_requested
from slopewise.study._workplace import TrialData
from slopewise.study.engines._attempt import attempt
from slopewise.study.engines._process import READY


def serve(pipe: Connection, spec: StudySpec, data: TrialData, growth: float = math.inf) -> None:
    """Run trials from the pipe until it delivers None or the driver is gone.

    Args:
        pipe: The worker's end of its pipe.
        spec: Spec of the study.
        data: Data of the trials.
        growth: Number of bytes by which the process may grow between two trials, counted from the end of its first;
            after more, it ends, and the driver starts another: a user's model may leak. 0 ends it after each trial.
    """
    if spec.hardware.devices == 1:  # trials on several devices have no checkpoints: there a signal ends the worker
        stop_on_signals()
    if spec.train.function is None:
        importlib.import_module("torch._dynamo")  # which the first optimizer would import otherwise, and then collect
    # Modules live as long as the process: neither the collections of a training nor the last one look through them.
    gc.freeze()
    gc.enable()
    report = partial(_send, pipe)
    report(READY)
    first: int | None = None
    while (trial := _next(pipe)) is not None:
        report(attempt(spec, trial, data, report))
        if stop_requested():
            return
        now = resident()
        first = now if first is None else first
        if not growth or now - first > growth:
            return


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


def resident() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
