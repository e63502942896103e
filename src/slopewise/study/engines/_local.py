"""Trials in spawned worker processes of this machine.

Each worker has a pipe of its own to the driver. Nothing is shared between workers but the images, which all of them
read and none writes: no lock and no queue, so that a worker that is killed at any moment cannot hold up the others.
Its end shows as the end of its pipe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from slopewise.errors import EngineError
from slopewise.events import Ended, Started, TrialEvent, TrialKey
from slopewise.machine import cores
from slopewise.records import TrialRecord
from slopewise.study._spec import StudySpec
from slopewise.study.engines._base import ATTEMPTS, BEGUN, READY, Engine
from slopewise.study.engines._crew import Crew
from slopewise.study.engines._job_control import stopped_together
from slopewise.study.engines._process import Worker
from slopewise.support import quoted

if TYPE_CHECKING:
    from slopewise.study.data import ImageData


_MOST = 1024  # processes


class LocalEngine(Engine):
    """Runs trials in `workers` processes side by side; by default one for each core and spec thread.

    Example:
        >>> LocalEngine(workers=2).workers
        2
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and not 1 <= workers <= _MOST:
            raise EngineError(f"workers: at least 1 and at most {_MOST:,}, not {quoted(workers)}")
        self.workers = workers

    def side_by_side(self, spec: StudySpec, trials: int) -> int:
        """Return the number of worker processes."""
        return min(self.workers or max(1, cores() // spec.hardware.threads), trials)

    def run(
        self, spec: StudySpec, trials: Sequence[TrialKey], data: ImageData | None = None
    ) -> Generator[TrialEvent, None, None]:
        """Run the trials by the contract in `_base`."""
        fields, data = spec.model_dump(mode="json"), data or _read(spec)

        def start(row: int) -> Worker:
            return Worker.start(_serve, fields, data, row=row)

        todo = _Trials(trials)
        with Crew(self.side_by_side(spec, len(trials)), start) as crew, stopped_together(crew.workers):
            while todo.unended:
                crew.fill(todo.unended)
                todo.hand_out(crew)
                for worker, message in crew.messages():
                    if event := todo.follow(crew, worker, message):
                        yield event


class _Trials:
    """The trials that have not ended yet: those that wait, with the number of their attempt, and those that run."""

    def __init__(self, trials: Sequence[TrialKey]) -> None:
        self.unended = len(trials)
        self._waiting = deque((trial, 1) for trial in trials)

    def hand_out(self, crew: Crew) -> None:
        """Give a trial to each worker that has none."""
        for worker in crew.idle():
            if self._waiting:
                worker.give(*self._waiting.popleft())

    def follow(self, crew: Crew, worker: Worker, message: str | TrialEvent | None) -> TrialEvent | None:
        """Handle a worker's message or its end, and return the event for the driver, if there is one."""
        if message is None:
            how = crew.bury(worker)
            if worker.trial and worker.begun:
                error = f"the worker process {how} during this trial"
                record = TrialRecord(worker.trial.arm, worker.trial.seed, "failed", error=error)
                return self._end(crew, worker, Ended(record, None))
            if worker.trial:
                self._waiting.appendleft((worker.trial, worker.attempt))
        elif message == READY:
            worker.ready = True
        elif message == BEGUN:
            worker.begun = True
            crew.works()
            return Started(worker.given, worker.attempt)
        elif isinstance(message, Ended):
            return self._end(crew, worker, message)
        else:
            return message  # type: ignore[return-value]  # workers say no other words
        return None

    def _end(self, crew: Crew, worker: Worker, ended: Ended) -> Ended | None:
        trial, worker.trial = worker.given, None
        crew.works()
        if ended.record.status == "failed" and worker.attempt < ATTEMPTS:
            self._waiting.appendleft((trial, worker.attempt + 1))
            return None
        self.unended -= 1
        return replace(ended, record=replace(ended.record, attempts=worker.attempt))


def _read(spec: StudySpec) -> ImageData:
    from slopewise.study.data import read_data  # with torch, which the command line does not wait for

    return read_data(spec.data)


def _serve(pipe: Connection, spec_fields: dict[str, object], data: ImageData) -> None:
    from slopewise.study.engines._worker import serve  # what trains is loaded by workers alone

    serve(pipe, spec_fields, data)
