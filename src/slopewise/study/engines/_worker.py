"""Main function of a worker process, which runs trials one after another and reports over a pipe of its own."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection

from slopewise.events import Ended, Epoch, TrialKey
from slopewise.machine import environment
from slopewise.records import EpochRecord, ScoreRecord, TrialRecord
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._trial import run_trial
from slopewise.study.data import ImageData
from slopewise.study.engines._base import BEGUN, READY


def serve(pipe: Connection, spec_fields: dict[str, object], data: ImageData) -> None:
    """Run trials from the pipe until it delivers None or the driver is gone.

    The answers to a trial are `BEGUN` and, at last, an `Ended`. A trial's exception ends that trial, not the worker.
    """
    os.dup2(2, 1)  # prints of a user's code must not mix with the lines of `--json`
    # Ctrl-C reaches the whole process group; the driver alone decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spec = stored_spec(dict(spec_fields))
    _send(pipe, READY)
    while (trial := _next(pipe)) is not None:
        _send(pipe, BEGUN)
        _send(pipe, _answer(pipe, spec, trial, data))


def _answer(pipe: Connection, spec: StudySpec, trial: TrialKey, data: ImageData) -> Ended:
    def tell(epoch: EpochRecord, scores: Sequence[ScoreRecord]) -> None:
        _send(pipe, Epoch(trial, epoch, tuple(scores)))

    try:
        record = run_trial(spec, trial.arm, trial.seed, data, on_epoch=tell)
    except Exception:  # a user's model can raise anything; its traceback is the result
        return Ended(TrialRecord(trial.arm, trial.seed, "failed", error=traceback.format_exc()), None)
    return Ended(record, environment())


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
