"""Workers end with their driver, and so do the processes that they have started; real processes are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# A driver of workers without torch. Each worker prints the processes that it consists of, then does what its kind says
# and hears nothing of its driver any more.
DRIVER = """
{header}
import hashlib, multiprocessing, os, signal, subprocess, sys, time
from slopewise.study.engines._process import Worker

def sleeps(): time.sleep(600)
def holds_the_lock(): sum(range(10**13))
def computes(): hashlib.pbkdf2_hmac("sha512", b"", b"", 2**31 - 1)
def is_stopped(): os.kill(os.getpid(), signal.SIGSTOP)

def ignores_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)

def child():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(600)

def starts(kind):
    if "children" not in kind:
        return []
    forked = multiprocessing.get_context("fork").Process(target=child)
    spawned = multiprocessing.get_context("spawn").Process(target=child)
    forked.start(), spawned.start()
    return [forked.pid, spawned.pid, subprocess.Popen(["sleep", "600"]).pid]

def has_children(): sleeps()
def has_children_and_the_lock(): holds_the_lock()

def serve(pipe, kind):
    pipe.send([os.getpid(), *starts(kind)])
    pipe.recv()
    globals()[kind]()

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup, above these tests, has ignored
    workers = [Worker.start(serve, kind) for kind in sys.argv[1:]]
    pids = [pid for worker in workers for pid in worker.pipe.recv()]
    for worker in workers:
        worker.pipe.send("go")
    time.sleep(0.3)
    {before}
    print(*pids, flush=True)
    {after}
"""


@pytest.fixture
def driven(tmp_path: Path, alive: Callable) -> Callable[..., tuple[subprocess.Popen, list[int]]]:
    """Start a driver with workers of these kinds; nothing of it outlives the test."""

    @contextmanager
    def drive(
        *kinds: str, header: str = "", before: str = "", after: str = "time.sleep(600)"
    ) -> Iterator[tuple[subprocess.Popen, list[int]]]:
        script = tmp_path / "driver.py"
        script.write_text(DRIVER.format(header=header, before=before, after=after))
        driver = subprocess.Popen([sys.executable, script, *kinds], stdout=subprocess.PIPE, text=True, process_group=0)
        pids: list[int] = []
        try:
            pids += map(int, driver.stdout.readline().split())
            yield driver, pids
        finally:
            driver.kill()
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGKILL)
            driver.communicate()

    return drive


KINDS = ("sleeps", "holds_the_lock", "computes", "is_stopped", "ignores_signals", "has_children_and_the_lock")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_the_driver_ends_its_workers(driven: Callable, gone: Callable, how: signal.Signals) -> None:
    kinds = KINDS if how == signal.SIGKILL else ("holds_the_lock", "is_stopped")
    with driven(*kinds) as (driver, pids):
        assert len(pids) == len(kinds) + 3 * (kinds is KINDS)
        driver.send_signal(how)
        gone(pids)
        assert driver.wait() == -how


def test_a_driver_that_is_killed_while_its_workers_are_born(driven: Callable, gone: Callable) -> None:
    header = "import multiprocessing, time; multiprocessing.parent_process() and time.sleep(600)"  # a slow import
    before = "workers = [Worker.start(serve, 'sleeps') for _ in range(2)]; pids = [w.process.pid for w in workers]"
    with driven(header=header, before=before) as (driver, pids):
        assert len(pids) == 2
        driver.kill()
        gone(pids)


def test_a_driver_that_just_leaves_ends_its_workers(driven: Callable, gone: Callable) -> None:
    with driven("sleeps", "holds_the_lock", after="os._exit(7)") as (driver, pids):
        gone(pids)
        assert driver.wait() == 7


def test_a_fork_of_the_driver_does_not_hold_workers_back(driven: Callable, gone: Callable) -> None:
    fork = "pids = [*pids, os.fork()]; pids[-1] or time.sleep(600)"
    with driven("sleeps", "holds_the_lock", before=fork) as (driver, pids):
        *workers, fork = pids
        driver.kill()
        gone(workers)
        os.kill(fork, signal.SIGKILL)  # it did outlive the driver


def test_workers_outlive_the_thread_that_has_started_them(driven: Callable, alive: Callable) -> None:
    header = "import threading"
    start = "thread = threading.Thread(target=lambda: workers.append(Worker.start(serve, 'sleeps'))); thread.start()"
    start += "; thread.join(); pids += workers[-1].pipe.recv(); workers[-1].pipe.send('go')"
    with driven(header=header, before=start) as (_, pids):
        time.sleep(1)
        assert [*map(alive, pids)] == [True]


def test_without_the_kernels_help_a_thread_ends_the_group(driven: Callable, gone: Callable) -> None:
    header = "import fcntl; vars(fcntl).pop('F_SETSIG')"  # as on macOS; workers import this file
    with driven("sleeps", "computes", "ignores_signals", "has_children", header=header) as (driver, pids):
        driver.kill()
        gone(pids)


def test_a_worker_that_is_killed_takes_its_children_along(driven: Callable, gone: Callable, alive: Callable) -> None:
    bury = "os.kill(pids[0], signal.SIGKILL); assert workers[0].bury() == -9"
    with driven("has_children", "sleeps", before=bury) as (_, pids):
        *family, other = pids
        gone(family, seconds=5.0)
        assert alive(other)


def test_ending_workers_ends_those_that_do_not_listen(driven: Callable, gone: Callable) -> None:
    with driven(*KINDS, before="Worker.end(workers, patience=1.0)") as (_, pids):
        gone(pids)


def test_ctrl_z_stops_workers_with_their_driver(driven: Callable) -> None:
    def stopped() -> list[bool]:
        states = [Path(f"/proc/{pid}/status").read_text() for pid in (driver.pid, *pids)]
        return ["State:\tT" in state for state in states]

    header = "from slopewise.study.engines._job_control import stopped_together"
    after = "with stopped_together(workers): time.sleep(600)"
    with driven("computes", "has_children", header=header, after=after) as (driver, pids):
        time.sleep(0.3)
        for _ in range(2):
            for number, expected in ((signal.SIGTSTP, {True}), (signal.SIGCONT, {False})):
                driver.send_signal(number)
                deadline = time.monotonic() + 10
                while set(stopped()) != expected:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
