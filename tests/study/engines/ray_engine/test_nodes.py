"""Studies on two nodes of a real cluster: nodes, processes and drivers that end in the middle of a trial."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slopewise.errors import EngineError
from slopewise.events import Epoch, Started, TrialKey
from slopewise.study import Study, StudySpec
from slopewise.study.data import load_data
from slopewise.study.engines import RayEngine
from slopewise.testing import InProcessEngine, check_engine, untimed

if TYPE_CHECKING:
    from tests.conftest import CommandServer

    from conftest import RayCluster

TOKEN = "RAY_AUTH_TOKEN_PATH"
pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}, "train": {"epochs": 1}}
MODULE = """
import os, pathlib, signal, sys, time
from torch import nn

class Acting(nn.ReLU):
    def __init__(self, deed, folder):
        super().__init__()
        self.deed, self.folder = deed, pathlib.Path(folder)

    def forward(self, x):
        if self.training and "RAY_JOB_ID" in os.environ:
            print("a print of the user's")
            (self.folder / f"module-{os.getpid()}").write_text(__file__)
            path = self.folder / self.deed
            if self.deed == "endless":
                with (self.folder / str(os.getpid())).open("a") as file:
                    file.write(".")
                time.sleep(0.05)
            elif not path.exists():
                path.touch()
                os.kill(os.getpid(), getattr(signal, self.deed))
        return super().forward(x)

def acting(channels, deed, folder):
    return Acting(deed, folder)
"""


def arm(module: str, deed: str, folder: Path) -> dict[str, Any]:
    return {"name": deed, "activation": f"{module}:acting", "options": {"deed": deed, "folder": str(folder)}}


def test_the_engine_conforms(cluster: RayCluster) -> None:
    check_engine(lambda: RayEngine(address=cluster.address))


def test_a_node_that_goes_costs_no_attempt_and_no_bit(cluster: RayCluster, tmp_path: Path) -> None:
    cluster.add(2, "brief")
    study, starts = Study(arms="relu,prelu_channel", seeds=4, **{**TINY, "train": {"epochs": 20}}), []

    def follow(event: object) -> None:
        starts.extend([event] * isinstance(event, Started))
        if len(starts) == 4 and isinstance(event, Epoch) and event.record.epoch == 1:
            starts.append(None)  # once
            cluster.remove("brief")

    found = study.run(tmp_path / "ray", engine=RayEngine(address=cluster.address), on_event=follow)
    expected = study.run(tmp_path / "local", engine=InProcessEngine())
    assert [event for event in starts if event and event.attempt > 1] == []
    assert len(starts) > 8 + 1  # some trials have begun twice
    records = [{(t.arm, t.seed): untimed(t) for t in results.record.trials} for results in (found, expected)]
    assert records[0] == records[1]


def test_a_frozen_process_is_given_up_and_its_trial_tried_elsewhere(
    cluster: RayCluster, user_module: Callable[[str, str], str], tmp_path: Path, gone: Callable[..., None]
) -> None:
    name = user_module("freezing", MODULE)
    spec = StudySpec(arms=[arm(name, "SIGSTOP", tmp_path)], seeds=1, **TINY)
    engine = RayEngine(address=cluster.address)
    limit = 9.0  # enough for a process on a busy machine
    events = [*engine.run(spec, [TrialKey("SIGSTOP", 0)], load_data(spec.data), time_limit=limit)]
    assert [event.attempt for event in events if isinstance(event, Started)] == [1, 2]
    assert events[-1].record.status == "finished"
    processes = [int(path.name.rpartition("-")[2]) for path in tmp_path.glob("module-*")]
    assert len(processes) == 2
    gone(processes)


def test_a_command_whose_worker_is_killed_prints_json_alone(
    cluster: RayCluster, tmp_path: Path, command_server: Callable[[], CommandServer]
) -> None:
    """The user's module is in the working directory, which the nodes get a copy of."""
    (tmp_path / "mine.py").write_text(MODULE)
    killed = f'{{name = "killed", activation = "mine:acting", options = {{deed = "SIGKILL", folder = "{tmp_path}"}}}}'
    (tmp_path / "study.toml").write_text(f'arms = ["relu", {killed}]')
    sizes = ["--set", "data.train_size=100", "--set", "model.options.width=4", "--epochs", "1", "--seeds", "1"]
    command = ["run", "study.toml", "--engine", "ray", "--address", cluster.address, "--json", *sizes]
    command += ["--engine-option", "working_dir=."]
    status, out, err = command_server().run(command, tmp_path, dict(os.environ))
    assert status == 0, err
    assert json.loads(out)["trials"]["finished"] == 2
    assert "killed, seed 0: failed, tried once more" in err
    assert "a print of the user's" in err
    places = {path.read_text() for path in tmp_path.glob("module-*")}
    assert len([*tmp_path.glob("module-*")]) == 2
    assert all("working_dir" in place for place in places), places


def test_the_room_of_nodes(cluster: RayCluster) -> None:
    hardware: dict[str, Any] = {"cpus_per_trial": 0.25}
    assert RayEngine(address=cluster.address).capacity(StudySpec(hardware=hardware)) == 8
    for needs, words in (({"threads": 2}, "2 CPUs for"), ({"gpus_per_trial": 0.5}, "1 CPU and 0.5 GPUs for")):
        with pytest.raises(EngineError, match=rf"no node of the Ray cluster offers {words} .* They offer 1 CPU \("):
            RayEngine(address=cluster.address).capacity(StudySpec(hardware=needs))


@pytest.mark.parametrize(
    ("mode", "token", "words"),
    [
        ({"RAY_AUTH_MODE": "token"}, None, "asks for a token, and there is none here: copy the cluster's"),
        ({}, None, "no connection to a Ray cluster at .*: either none answers there, or .* none is here"),
        ({}, "f" * 64, "either none answers there, or .* the token of ~/.ray/auth_token is not the cluster's"),
    ],
)
def test_a_token_that_is_absent_or_wrong(
    cluster: RayCluster,
    tmp_path: Path,
    command_server: Callable[[], CommandServer],
    mode: dict[str, str],
    token: str | None,
    words: str,
) -> None:
    """The variables are Ray's, which reads them when the command loads it."""
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(token)
    retries = {"RAY_NUM_REDIS_GET_RETRIES": "2"}  # 20, one a second
    environment = {**os.environ, **mode, **retries, "HOME": str(tmp_path)}
    del environment[TOKEN]
    command = ["run", "--engine", "ray", "--address", cluster.address, "--dry-run"]
    status, out, err = command_server().run(command, tmp_path, environment)
    assert status == 2
    assert re.search(words, err), err
    assert "Traceback" not in err
    assert not out


def test_what_ray_changes_in_the_process_is_taken_back(cluster: RayCluster) -> None:
    environment, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    RayEngine(address=cluster.address).capacity(StudySpec())
    assert os.environ == environment
    assert signal.getsignal(signal.SIGTERM) is handler


@contextmanager
def endless(cluster: RayCluster, folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start a command whose trials do not end; give its process, and those that train."""
    (folder / "mine.py").write_text(MODULE)
    spec = {"arms": [arm("mine", "endless", folder)], "seeds": 2, "monitor": {"every": 0}}
    spec |= {**TINY, "train": {"epochs": 100_000}}
    script = (
        "import slopewise as sw, json, sys\n"
        "if __name__ == '__main__':\n"
        "    sw.Study(**json.loads(sys.argv[1])).run('out', engine='ray', engine_options={'address': sys.argv[2]})\n"
    )
    (folder / "script.py").write_text(script)
    with (folder / "err").open("w") as err:
        driver = subprocess.Popen(
            [sys.executable, "script.py", json.dumps(spec), cluster.address],
            cwd=folder, stdout=err, stderr=err, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while len(files := [path for path in folder.iterdir() if path.name.isdigit()]) < 2:
            assert driver.poll() is None, (folder / "err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield driver, [int(path.name) for path in files]
    finally:
        driver.kill()
        driver.wait()


def test_ctrl_c_leaves_nothing_at_work(cluster: RayCluster, tmp_path: Path, alive: Callable[[int], bool]) -> None:
    with endless(cluster, tmp_path) as (driver, workers):
        os.killpg(driver.pid, signal.SIGINT)
        driver.wait(60)
        assert not [*filter(alive, workers)]
        assert "KeyboardInterrupt" in (tmp_path / "err").read_text()


def test_sigterm_asks_the_trials_to_stop(cluster: RayCluster, tmp_path: Path) -> None:
    with endless(cluster, tmp_path) as (driver, workers):
        driver.terminate()
        assert driver.wait(60) == 75
        sizes = [(tmp_path / str(pid)).stat().st_size for pid in workers]
        assert "Traceback" not in (tmp_path / "err").read_text()
    assert [(tmp_path / str(pid)).stat().st_size for pid in workers] == sizes


def test_a_driver_that_is_killed_leaves_nothing_at_work(
    cluster: RayCluster, tmp_path: Path, gone: Callable[..., None]
) -> None:
    with endless(cluster, tmp_path) as (driver, workers):
        driver.kill()
        gone(workers, seconds=30)
