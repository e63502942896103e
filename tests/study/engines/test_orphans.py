"""Studies whose driver is killed in the middle of an epoch that would go on for minutes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

SCRIPT = """
import multiprocessing, os, pathlib, sys, time
import slopewise as sw
import torch

here = pathlib.Path(__file__).parent

class Endless(torch.nn.PReLU):
    deed = "time.sleep(600)"
    def forward(self, x):
        if self.training and multiprocessing.parent_process():
            (here / f"pids-{os.getpid()}-{os.getppid()}").touch()
            eval(self.deed)
        return super().forward(x)

class Locking(Endless):  # holds Python's lock all the while
    deed = "sum(range(10**13))"

class Computing(Endless):  # one operation of minutes
    deed = "torch.linalg.svd(torch.rand(6000, 6000, dtype=torch.float64))"

def endless(channels): return Endless()
def locking(channels): return Locking()
def computing(channels): return Computing()

if __name__ == "__main__":
    arms = [{"name": name, "activation": f"script:{name}"} for name in sys.argv[2:]]
    data, model, train = {"train_size": 100}, {"options": {"width": 4}}, {"epochs": 1}
    hardware = {"devices": 2, "strategy": "ddp_spawn"} if sys.argv[1] == "ranks" else {}
    study = sw.Study(arms=arms, seeds=1, data=data, model=model, train=train, hardware=hardware)
    study.run(here / "out", workers=2, grace=1)
"""


@pytest.fixture
def study(tmp_path: Path, alive: Callable) -> Callable[..., tuple[subprocess.Popen, list[int]]]:
    """Start a study of such arms; give its processes once so many of them are in their first step."""
    (tmp_path / "script.py").write_text(SCRIPT)

    @contextmanager
    def start(*arms: str, devices: str = "one", count: int) -> Iterator[tuple[subprocess.Popen, set[int]]]:
        pids: set[int] = set()
        command = [sys.executable, "script.py", devices, *arms]
        driver = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 120
            while len(files := [*tmp_path.glob("pids-*")]) < count:
                assert driver.poll() is None, driver.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            pids |= {int(pid) for path in files for pid in path.name.split("-")[1:]}
            yield driver, pids - {driver.pid}
        finally:
            driver.kill()
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGKILL)
            driver.communicate()

    return start


def test_workers_end_with_a_driver_that_crashes(study: Callable, gone: Callable) -> None:
    with study("locking", "computing", count=2) as (driver, workers):
        driver.send_signal(signal.SIGSEGV)
        gone(workers)


def test_sigterm_ends_a_script_quietly(study: Callable, gone: Callable, tmp_path: Path) -> None:
    with study("locking", "endless", count=2) as (driver, workers):
        assert (tmp_path / "out" / "running.json").exists()
        driver.terminate()
        gone(workers)
        assert driver.wait() == 75
        assert "Traceback" not in driver.stderr.read()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"study.db", ".lock"}


def test_ranks_end_with_a_driver_that_is_killed(study: Callable, gone: Callable) -> None:
    with study("locking", devices="ranks", count=2) as (driver, processes):
        assert len(processes) == 3  # two ranks, and the worker that has spawned them
        driver.kill()
        gone(processes)
