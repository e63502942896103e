"""The workers of a study: their number, and the limit on failed starts.

The start of a worker has succeeded when the worker begins a trial. Failed starts are counted in a row: the count
returns to 0 whenever a trial begins or ends. Workers that are started together count as one start, which fails if one
of them does, because resources that are too small for all of them may be enough for one. After a failure, workers are
started one by one. After `BIRTHS` failures the study continues with the workers that it has, and ends if it has none.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import wait
from typing import Any

from slopewise.errors import EngineError
from slopewise.events import Ended, TrialKey
from slopewise.study.engines._base import Begun, Lost, Report, Session, Stopped
from slopewise.study.engines._process import GRACE, PATIENCE, READY, Worker

BIRTHS = 3  # failures in a row after which no more workers are started
_MAIN_GUARD = (
    "; its own words are above. A script that calls Study.run must do so under `if __name__ == '__main__':`, "
    "since workers import it"
)


class Crew(Session, AbstractContextManager["Crew"]):
    """Session of up to `size` worker processes, which are ended when the block is left.

    Args:
        size: Number of workers.
        start: Function that starts a worker, given the number of births that have failed in a row.
    """

    def __init__(self, size: int, start: Callable[[int], Worker]) -> None:
        self.workers: list[Worker] = []
        self._leaving: list[Worker] = []  # workers that take no more trials
        self._size, self._start = size, start
        self._failures, self._proven, self._last = 0, False, ""

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        Worker.end([*self.workers, *self._leaving], patience=PATIENCE if error is None else GRACE)

    def free(self, unended: int) -> int:
        """Start workers up to the number of trials, as long as there is hope that they live, and count the idle ones.

        Raises:
            EngineError: No worker is left, and there is no hope for another.
        """
        while len(self.workers) < min(self._size, unended) and self._hopeful():
            try:
                self.workers.append(self._start(self._failures))
            except OSError as error:
                self._failures += 1
                self._last = f"could not be started: {error.strerror or error}"
        if not self.workers:
            raise EngineError(f"no worker process lives until it begins a trial: the last one {self._last}")
        return len(self._idle())

    def place(self, trial: TrialKey, attempt: int) -> None:  # noqa: ARG002 - all workers run on this machine
        """Give a trial to an idle worker."""
        self._idle()[0].give(trial)

    def reports(self, timeout: float | None = None) -> Iterator[Report]:
        """Wait for messages of workers and for ends of workers, and yield what they mean for trials."""
        for worker, message in self._messages(timeout):
            if message is None:
                yield from self._bury(worker)
            elif message == READY:
                worker.ready = True
            else:
                self._follow(worker, message)
                yield message

    def give_up(self, trial: TrialKey) -> None:
        """Kill the worker that has the trial, and all that it has started."""
        for worker in [worker for worker in self.workers if worker.trial == trial]:
            self.workers.remove(worker)
            worker.kill()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the workers that have a trial."""
        for worker in self.workers:
            if worker.trial:
                worker.process.terminate()

    def _hopeful(self) -> bool:
        one_by_one = all(worker.ready for worker in self.workers)
        return self._failures == 0 or (self._failures < BIRTHS and one_by_one)

    def _idle(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.idle]

    def _messages(self, timeout: float | None) -> Iterator[tuple[Worker, Any]]:
        """Wait, and yield each message that is there with its sender; None is the end of a worker."""
        senders = {worker.pipe: worker for worker in self.workers}
        for pipe in wait(list(senders), timeout):
            worker = senders[pipe]  # type: ignore[index]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):  # OSError: it died in the middle of a message
                message = None
            yield worker, message

    def _follow(self, worker: Worker, message: Report) -> None:
        """Take note that a worker has begun or ended a trial, which proves that workers can live."""
        if isinstance(message, (Begun, Ended, Stopped)):
            self._failures, self._proven = 0, True
        if isinstance(message, Begun):
            worker.begun = True
        elif isinstance(message, (Ended, Stopped)):
            worker.trial = None
        if isinstance(message, Stopped):
            self.workers.remove(worker)
            self._leaving.append(worker)

    def _bury(self, worker: Worker) -> Iterator[Lost]:
        """Remove a worker whose pipe has ended, and yield the loss of its trial, if it had one."""
        self.workers.remove(worker)
        code = worker.bury()
        how = _words(code)
        if worker.trial and worker.begun:
            self._failures = 0  # the trial ended the worker, not its start
        elif not worker.idle:
            self._last = how + (_MAIN_GUARD if code == 1 else "")
            if code == 1 and not self._proven:  # an exception in a module that every worker imports
                self._failures = BIRTHS
            elif worker.row == self._failures:  # it was started after the failures that have been counted
                self._failures += 1
        if worker.trial:
            yield Lost(worker.trial, f"the worker process {how}")


def _words(code: int | None) -> str:
    if code is None:
        return "let go of its pipe and had to be killed"
    if code >= 0:
        return f"exited with status {code}"
    memory = "; if nobody killed it, memory may have run out: try fewer workers" if code == -signal.SIGKILL else ""
    return f"was killed by signal {-code}{memory}"
