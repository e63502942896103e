"""Trials in spawned worker processes of this machine.

Each worker has a pipe of its own to the driver. Nothing is shared between workers but the images, which all of them
read and none writes: no lock and no queue, so that a worker that is killed at any moment cannot hold up the others.
Its end shows as the end of its pipe.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from slopewise.errors import EngineError
from slopewise.events import Ended, Started, TrialEvent, TrialKey
from slopewise.records import TrialRecord
from slopewise.study._cores import cores
from slopewise.study._spec import StudySpec
from slopewise.study.engines._base import ATTEMPTS, READY, Engine

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

_PATIENCE = 5.0  # seconds for a worker to exit when told, before it is killed


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    trial: TrialKey | None = None
    attempt: int = 0


class LocalEngine(Engine):
    """Runs trials in `workers` processes side by side; by default one for each core and spec thread.

    Example:
        >>> LocalEngine(workers=2).workers
        2
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise EngineError(f"workers: at least 1, not {workers}")
        self.workers = workers

    def side_by_side(self, spec: StudySpec, trials: int) -> int:
        """Return the number of worker processes."""
        return min(self.workers or max(1, cores() // spec.hardware.threads), trials)

    def run(
        self, spec: StudySpec, trials: Sequence[TrialKey], data: ImageData | None = None
    ) -> Generator[TrialEvent, None, None]:
        """See the contract in `_base`."""
        data = data or _read(spec)
        waiting = deque((trial, 1) for trial in trials)
        count = self.side_by_side(spec, len(trials))
        workers = [_spawn(spec, data) for _ in range(count)]
        unended, stillborn = len(trials), 0
        try:
            while unended:
                for pipe in wait([worker.pipe for worker in workers]):
                    worker = next(worker for worker in workers if worker.pipe is pipe)
                    try:
                        message = worker.pipe.recv()
                    except (EOFError, OSError):  # OSError: it died in the middle of a message
                        workers.remove(worker)
                        stillborn += not worker.ready
                        message = _post_mortem(worker, last_hope=stillborn >= ATTEMPTS)
                    if message == READY:
                        worker.ready = True
                    elif isinstance(message, Ended):
                        trial, attempt = worker.trial, worker.attempt
                        worker.trial = None
                        assert trial is not None  # noqa: S101 - for the type checker: only a told worker answers
                        if message.record.status == "failed" and attempt < ATTEMPTS:
                            waiting.appendleft((trial, attempt + 1))
                        else:
                            unended -= 1
                            yield replace(message, record=replace(message.record, attempts=attempt))
                    elif message is not None:
                        yield message
                while len(workers) < min(count, unended):
                    workers.append(_spawn(spec, data))
                for worker in workers:
                    if worker.ready and worker.trial is None and waiting:
                        worker.trial, worker.attempt = waiting.popleft()
                        # A worker that died just now shows as the end of its pipe in the next round.
                        with suppress(BrokenPipeError, ConnectionResetError):
                            worker.pipe.send(worker.trial)
                        yield Started(worker.trial, worker.attempt)
        finally:
            _end(workers)


def _read(spec: StudySpec) -> ImageData:
    from slopewise.study.data import read_data  # with torch, which the command line does not wait for

    return read_data(spec.data)


def _serve(pipe: Connection, spec_fields: dict[str, object], data: ImageData) -> None:
    from slopewise.study.engines._worker import serve  # what trains is loaded by workers alone

    serve(pipe, spec_fields, data)


def _spawn(spec: StudySpec, data: ImageData) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, spec.model_dump(mode="json"), data)
    process = context.Process(target=_serve, args=arguments, name="slopewise-worker")
    with _interrupts_held():
        process.start()
    theirs.close()  # so that the pipe ends when the worker does
    return _Worker(process, ours)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start a worker deaf to Ctrl-C, which reaches the whole process group, until it ignores it by itself."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else `start` starts it, and lets interrupts in again behind our back
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _post_mortem(worker: _Worker, *, last_hope: bool) -> Ended | None:
    """The failed trial of a worker whose pipe has ended; None if it had none and another may take its place."""
    worker.process.join(_PATIENCE)
    worker.pipe.close()
    code = worker.process.exitcode
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited with status {code}"
    if worker.trial is None:
        if worker.ready or not (code == 1 or last_hope):
            return None
        advice = (
            "; its own words are above. A script that calls Study.run must do so under `if __name__ == '__main__':`, "
            "since workers import it"
        )
        raise EngineError(f"a worker process {how} before its first trial{advice if code == 1 else ''}")
    memory = "; if nobody killed it, memory may have run out: try fewer workers" if code == -9 else ""
    error = f"the worker process {how} during this trial{memory}"
    return Ended(TrialRecord(worker.trial.arm, worker.trial.seed, "failed", error=error), None)


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        if worker.trial is not None:
            worker.process.terminate()
        else:
            with suppress(BrokenPipeError, ConnectionResetError):
                worker.pipe.send(None)
        worker.pipe.close()
    for worker in workers:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
