"""Worker processes: the same records for any number of them, and real faults."""

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from slopewise.errors import EngineError
from slopewise.events import Ended, Epoch, Started, TrialKey
from slopewise.records import TrialRecord
from slopewise.study import StudySpec, parse_spec
from slopewise.study.engines import LocalEngine, make_engine
from slopewise.testing import untimed

pytestmark = pytest.mark.slow

FAULTY = """
import os, signal, pathlib, torch
from slopewise.study.models import cnn

here = pathlib.Path(__file__).parent

def first_time(name):
    marker = here / name
    try:
        marker.touch(exist_ok=False)
        return True
    except FileExistsError:
        return False

class Killer(torch.nn.PReLU):
    \"\"\"Kills its process in training; only the first time if so named.\"\"\"
    always, once = False, "killed"
    def forward(self, x):
        if self.training and (self.always or first_time(self.once)):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

class AlwaysKiller(Killer):
    always = True

class Raiser(torch.nn.PReLU):
    def forward(self, x):
        if self.training: raise ValueError("the moon is full")
        return super().forward(x)

class Disconnected(torch.nn.PReLU):
    def forward(self, x):
        if self.training: raise BrokenPipeError("the data server has gone")
        return super().forward(x)

class Leaky(torch.nn.PReLU):
    kept = []
    def forward(self, x):
        (here / f"process-{os.getpid()}").touch()
        return super().forward(x)

def leak(channels):
    Leaky.kept.append(torch.ones(2**22))  # 16 MiB that nobody frees
    return Leaky()

def kill_once(channels): return Killer()
def kill_always(channels): return AlwaysKiller()
def raise_always(channels): return Raiser()
def disconnect(channels): return Disconnected()
"""


def tiny(arms: object, seeds: int = 1, **fields: object) -> StudySpec:
    data, model = {"train_size": 100}, {"options": {"width": 4}}
    return parse_spec({"arms": arms, "seeds": seeds, "data": data, "model": model, "train": {"epochs": 1}, **fields})


def plan(spec: StudySpec) -> list[TrialKey]:
    return [TrialKey(arm.name, seed) for seed in spec.seeds for arm in spec.arms]


def run(spec: StudySpec, workers: int = 2) -> tuple[dict[str, TrialRecord], list[object]]:
    events = list(LocalEngine(workers).run(spec, plan(spec)))
    return {f"{e.record.arm}/{e.record.seed}": e.record for e in events if isinstance(e, Ended)}, events


def test_any_number_of_workers_gives_the_same_records() -> None:
    spec = tiny("relu,prelu_channel,rrelu", seeds=2)
    one, events = run(spec, workers=1)
    two, _ = run(spec, workers=2)
    assert {key: untimed(trial) for key, trial in one.items()} == {key: untimed(t) for key, t in two.items()}
    assert len(one) == 6
    kinds = [type(event) for event in events]
    assert kinds == [Started, Epoch, Ended] * 6
    assert [event.trial for event in events if isinstance(event, Started)] == plan(spec)


def test_a_worker_that_dies_costs_one_more_try(user_module: Callable[[str, str], str]) -> None:
    name = user_module("faulty", FAULTY)
    spec = tiny(["relu", {"name": "dies", "activation": f"{name}:kill_once"}, "elu"])
    trials, events = run(spec, workers=1)
    assert {key: (trial.status, trial.attempts) for key, trial in trials.items()} == {
        "relu/0": ("finished", 1),
        "dies/0": ("finished", 2),
        "elu/0": ("finished", 1),
    }
    assert [event.attempt for event in events if isinstance(event, Started) and event.trial.arm == "dies"] == [1, 2]


def test_a_trial_that_always_fails_is_recorded_and_the_rest_go_on(user_module: Callable[[str, str], str]) -> None:
    name = user_module("faulty", FAULTY)
    arms = [{"name": f, "activation": f"{name}:{f}"} for f in ("kill_always", "raise_always", "disconnect")]
    trials, _ = run(tiny(["relu", *arms, "elu"]))
    assert {key: (trial.status, trial.attempts) for key, trial in trials.items()} == {
        "relu/0": ("finished", 1),
        "kill_always/0": ("failed", 2),
        "raise_always/0": ("failed", 2),
        "disconnect/0": ("failed", 2),
        "elu/0": ("finished", 1),
    }
    assert "killed by signal 9" in trials["kill_always/0"].error
    assert "Traceback" in trials["raise_always/0"].error
    assert "ValueError: the moon is full" in trials["raise_always/0"].error
    assert "BrokenPipeError: the data server has gone" in trials["disconnect/0"].error  # not the driver


def test_an_idle_worker_that_dies_costs_nothing() -> None:
    spec = tiny("relu", seeds=3, train={"epochs": 60})
    trials, killed = {}, False
    for event in LocalEngine(2).run(spec, plan(spec)):
        if isinstance(event, Ended):
            trials[event.record.seed] = event.record
            if len(trials) == 2:  # one worker is idle now, the other at work on the last trial
                time.sleep(0.5)
                busiest = max(multiprocessing.active_children(), key=cpu_time)
                for child in multiprocessing.active_children():
                    if child is not busiest:
                        child.kill()
                        killed = True
    assert killed
    assert len(trials) == 3


def cpu_time(child: multiprocessing.Process) -> int:
    """Return the processor time that the kernel counted for it in the last tenth of a second."""

    def read() -> int:
        return sum(map(int, Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))

    before = read()
    time.sleep(0.1)
    return read() - before


def test_closing_the_generator_ends_the_workers() -> None:
    spec = tiny("relu", seeds=4, train={"epochs": 500})
    with closing(LocalEngine(2).run(spec, plan(spec))) as events:
        assert isinstance(next(events), Started)
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []


def test_a_script_without_a_main_guard_gets_a_clear_message(tmp_path: Path) -> None:
    code = "import slopewise as sw\nsw.Study(arms='relu', seeds=1, train={'epochs': 1}).run('out')\n"
    (tmp_path / "script.py").write_text(code)
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, text=True, capture_output=True, check=False, timeout=200
    )
    assert ended.returncode == 1
    assert "under `if __name__ == '__main__':`" in ended.stderr.splitlines()[-1]


def test_engines_by_name() -> None:
    assert isinstance(make_engine("local", {"workers": 3}), LocalEngine)
    with pytest.raises(EngineError, match="unknown engine 'locl'; did you mean 'local'"):
        make_engine("locl")
    for workers in (0, 10**6):
        with pytest.raises(EngineError, match=f"at least 1 and at most 1,024, not {workers}"):
            make_engine("local", {"workers": workers})


@pytest.mark.parametrize("memory_gib", [2.0, 1e-9])
def test_images_are_gone_when_driver_and_workers_are_killed(
    tmp_path: Path, memory_gib: float, start_script: Callable[..., subprocess.Popen]
) -> None:
    code = f"""
import multiprocessing
import os
import signal
import slopewise as sw
from slopewise.events import Started
def tell(event):
    if isinstance(event, Started):
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
if __name__ == "__main__":
    data = {{"train_size": 100, "memory_gib": {memory_gib}}}
    study = sw.Study(arms="relu", seeds=1, data=data, train={{"epochs": 100000}})
    study.run("out", workers=1, on_event=tell)
"""
    (tmp_path / "driver.py").write_text(code)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with start_script(
        "driver.py",
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as driver:
        try:
            worker = int(driver.stdout.readline())
            private, shared = images_of(driver.pid), images_of(worker)
            os.kill(worker, signal.SIGKILL)
        finally:
            driver.kill()
    assert len(private) == 2  # training and test images
    assert private <= shared
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {name.partition("-")[0] for name in names} <= {"study.db", ".lock", "running.json", ".running.json"}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["driver.py"]


def images_of(process: int) -> set[int]:
    """Numbers of the regular files without a name that a process holds open."""
    files = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            status = link.stat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                files.add(status.st_ino)
    return files


@pytest.mark.parametrize(("growth", "processes"), [(0.01, 2), (0.0, 3)])
def test_a_worker_that_leaks_is_replaced_between_trials(
    user_module: Callable[[str, str], str], tmp_path: Path, growth: float, processes: int
) -> None:
    name = user_module("faulty", FAULTY)
    spec = tiny([{"name": "leaks", "activation": f"{name}:leak"}], seeds=3)
    events = list(LocalEngine(1, growth_gib=growth).run(spec, plan(spec)))
    assert [event.record.status for event in events if isinstance(event, Ended)] == ["finished"] * 3
    assert len(list(tmp_path.glob("process-*"))) == processes
