"""Trials that real signals interrupt in the middle go on from their checkpoints, and end as if nothing had happened."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slopewise.study import read_counts

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="sends signals to process groups")]

LOOP = ["--model", "slow:Net", "--arms", "prelu_channel", "--seeds", "1", "--epochs", "12", "--train-size", "240"]
STEPS = 3  # of an epoch
NETWORK = """
import pathlib, time, torch
class Net(torch.nn.Sequential):
    def __init__(self, num_classes, in_channels):
        conv, norm = torch.nn.Conv2d(in_channels, 8, 3), torch.nn.BatchNorm2d(8)
        super().__init__(conv, norm, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 6 * 6, num_classes))
    def forward(self, x):
        if self.training and pathlib.Path("slow").exists():
            time.sleep(0.1)
        return super().forward(x)
"""
FUNCTION = """
import time, torch
def train(trial, rounds):
    trial.seed_all()
    model = trial.apply(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), torch.zeros(2, 2))
    optimizer = torch.optim.SGD(trial.param_groups(model, lr=0.1))
    while True:
        model(torch.ones(2, 2)).sum().backward()
        optimizer.step()
        (trial.folder / "begun").touch()
        if (trial.folder.parents[3] / "go").exists():
            return {"score": 1.0}
        time.sleep(0.01)
"""
TIMES = {"seconds", "seconds_per_step", "monitor_seconds", "operator_costs", "attempts", "stored"}


def start(out: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "slopewise", "run", *words, "--workers", "1", "--out", str(out), "--json"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=out.parent, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def wait_for(process: subprocess.Popen[str], seen: re.Pattern[str], path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or not seen.search(path.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path.name} never said {seen.pattern}"
        time.sleep(0.01)


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def records(run: Callable[..., int], out: Path) -> object:
    assert run("export", out, "--to", out / "all.json") == 0
    return without_times(json.loads((out / "all.json").read_text()))


@pytest.fixture(scope="module")
def run(command_server: Callable) -> Callable[..., int]:
    """Run a command that nothing interrupts, which needs no interpreter of its own; return its status."""

    def of(*words: str | Path) -> int:
        folder = next(word for word in words if isinstance(word, Path)).parent
        return command_server().run([*map(str, words)], folder, dict(os.environ))[0]

    return of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., int]) -> object:
    out = tmp_path_factory.mktemp("whole") / "out"
    (out.parent / "slow.py").write_text(NETWORK)
    assert run("run", *LOOP, "--workers", "1", "--out", out) == 0
    return records(run, out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_in_the_middle_of_a_trial_then_the_same_command(
    tmp_path: Path, run: Callable[..., int], whole: object, number: int
) -> None:
    out, words = tmp_path / "out", [*LOOP, "--checkpoint-every", "0.01s" if number == signal.SIGKILL else "1h"]
    (tmp_path / "slow.py").write_text(NETWORK)
    (tmp_path / "slow").touch()
    process = start(out, *words)
    wait_for(process, re.compile('"epoch": [2-9]'), out / "running.json")
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 75
        assert "terminated: 0 of 1 trials are kept" in errors
        assert not (out / "running.json").exists()
    saved = sorted(out.rglob("*.pt"))
    oldest = number == signal.SIGKILL  # is still there if the kill comes between a new file and its removal
    assert 1 <= len(saved) <= 2 + oldest
    assert int(saved[-1].name.partition("-")[0]) >= 2 * STEPS
    counts = read_counts(out)
    assert (counts.ended, counts.planned) == (0, 1)  # neither failed nor finished
    (tmp_path / "slow").unlink()
    assert run("run", *words, "--workers", "1", "--out", out) == 0
    assert records(run, out) == whole
    assert {path.name for path in out.iterdir()} <= {"study.db", "report.html", "all.json", ".lock"}


def test_a_function_that_never_looks_is_ended_after_the_grace_period_and_runs_again(
    tmp_path: Path, run: Callable[..., int]
) -> None:
    (tmp_path / "stubborn.py").write_text(FUNCTION)
    out, words = tmp_path / "out", ["--train", "stubborn:train", "--arms", "relu", "--seeds", "1", "--metric", "score"]
    words += ["--better", "higher", "--margin", "0.1", "--set", "train.options.rounds=1", "--grace", "1s"]
    process = start(out, *words)
    wait_for(process, re.compile(""), out / "trials/relu/seed-0/begun")
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "terminated: 0 of 1 trials are kept" in errors
    (tmp_path / "go").touch()
    assert run("run", *words, "--workers", "1", "--out", out) == 0
