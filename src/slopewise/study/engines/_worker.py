"""What runs in a worker process: trials, one after another, told and reported over a pipe of its own."""

from __future__ import annotations

import os
import signal
import traceback
from multiprocessing.connection import Connection

from slopewise.events import Ended, Epoch, TrialKey
from slopewise.machine import environment
from slopewise.records import EpochRecord, TrialRecord
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._trial import run_trial
from slopewise.study.data import ImageData
from slopewise.study.engines._base import BEGUN, READY


def serve(pipe: Connection, spec_fields: dict[str, object], data: ImageData) -> None:
    """Take trial after trial until None comes or the driver is gone.

    Every trial is answered by `BEGUN` and, at last, an `Ended`. A trial's exception ends that trial, not the worker.
    """
    os.dup2(2, 1)  # what a user's code prints must not get between the lines of `--json`
    # Ctrl-C reaches the whole process group; the driver alone decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spec = stored_spec(dict(spec_fields))
    _send(pipe, READY)
    while (trial := _next(pipe)) is not None:
        _send(pipe, BEGUN)
        _send(pipe, _answer(pipe, spec, trial, data))


def _answer(pipe: Connection, spec: StudySpec, trial: TrialKey, data: ImageData) -> Ended:
    def tell(epoch: EpochRecord) -> None:
        _send(pipe, Epoch(trial, epoch))

    try:
        record = run_trial(spec, trial.arm, trial.seed, data, on_epoch=tell)
    except Exception:  # a user's model can raise anything; its traceback is the result
        return Ended(TrialRecord(trial.arm, trial.seed, "failed", error=traceback.format_exc()), None)
    return Ended(record, environment())


def _send(pipe: Connection, message: object) -> None:
    try:
        pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the driver is gone: nobody is left to tell


def _next(pipe: Connection) -> TrialKey | None:
    try:
        return pipe.recv()  # type: ignore[no-any-return]
    except (EOFError, ConnectionResetError):
        os._exit(0)
