"""A second engine, in this file alone: one `concurrent.futures.ProcessPoolExecutor` for each trial at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait

import pytest

from slopewise.events import Ended, TrialKey
from slopewise.study import StudySpec
from slopewise.study.data import ImageData
from slopewise.study.engines import Engine, Lost, Option, Report, Session, attempt
from slopewise.testing import check_engine

SPAWN = get_context("spawn")


class ExecutorEngine(Engine):
    options = (Option("slots", int, "Trials at a time.", 2, least=1),)

    def capacity(self, spec: StudySpec) -> int:
        return self.slots

    @contextmanager
    def open(self, spec: StudySpec, data: ImageData) -> Iterator[Pools]:
        pools = Pools(self.slots, spec, data)
        try:
            yield pools
        finally:
            for pool in [*pools.idle, *(pool for pool, _ in pools.busy.values())]:
                for process in pool._processes.values():
                    process.kill()
                pool.shutdown()


class Pools(Session):
    """Pools of one process each, because the death of a process breaks its whole pool."""

    def __init__(self, slots: int, spec: StudySpec, data: ImageData) -> None:
        self.slots, self.setup, self.idle, self.busy = slots, (spec, data), {}, {}

    def free(self, unended: int) -> int:
        return self.slots - len(self.busy)

    def place(self, trial: TrialKey, attempt: int) -> None:
        if not self.idle:
            pipe, theirs = SPAWN.Pipe(duplex=False)
            self.idle[ProcessPoolExecutor(1, SPAWN, set_up, (theirs, *self.setup))] = pipe
        pool, pipe = self.idle.popitem()
        self.busy[pipe] = pool, trial
        pool.submit(work, trial)

    def reports(self, timeout: float | None = None) -> Iterator[Report]:
        for pipe in wait(self.busy, timeout=0.1 if timeout is None else min(timeout, 0.1)):
            report = pipe.recv()
            if isinstance(report, Ended):
                self.idle[self.busy.pop(pipe)[0]] = pipe
            yield report
        for pipe, (pool, trial) in list(self.busy.items()):
            if pool._broken and not pipe.poll():
                del self.busy[pipe]
                yield Lost(trial, "the pool's process ended")

    def give_up(self, trial: TrialKey) -> None:
        pipe = next(pipe for pipe, (_, busy) in self.busy.items() if busy == trial)
        pool, _ = self.busy.pop(pipe)
        for process in pool._processes.values():
            process.kill()
        pool.shutdown()


def set_up(*state: object) -> None:
    set_up.state = state


def work(trial: TrialKey) -> None:
    pipe, spec, data = set_up.state
    pipe.send(attempt(spec, trial, data, pipe.send))


@pytest.mark.slow
def test_an_engine_on_executors_conforms() -> None:
    check_engine(ExecutorEngine)
