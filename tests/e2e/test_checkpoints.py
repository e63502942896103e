"""Trials that real signals interrupt in the middle go on from their checkpoints, and end as if nothing had happened."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slopewise.study import read_counts

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="sends signals to process groups")]

LOOP = ["--arms", "prelu_channel", "--seeds", "1", "--epochs", "40", "--set", "monitor.every=3"]
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


def command(out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "slopewise", "run", *words, "--workers", "1", "--out", str(out), "--json"]


def start(out: Path, *words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(out, *words), cwd=out.parent, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


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


def records(out: Path) -> object:
    words = [sys.executable, "-m", "slopewise", "export", str(out), "--to", str(out / "all.json")]
    subprocess.run(words, check=True, capture_output=True)
    return without_times(json.loads((out / "all.json").read_text()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> object:
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(command(out, *LOOP), check=True, capture_output=True)
    return records(out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_in_the_middle_of_a_trial_then_the_same_command(tmp_path: Path, whole: object, number: int) -> None:
    out, words = tmp_path / "out", [*LOOP, "--checkpoint-every", "0.01s" if number == signal.SIGKILL else "1h"]
    process = start(out, *words)
    wait_for(process, re.compile('"epoch": [2-9]'), out / "running.json")
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 75
        assert "terminated: 0 of 1 trials are kept" in errors
        assert not (out / "running.json").exists()
    saved = sorted(out.rglob("*.pt"))
    assert 1 <= len(saved) <= 2
    assert int(saved[-1].name.partition("-")[0]) >= 2 * 13  # steps
    counts = read_counts(out)
    assert (counts.ended, counts.planned) == (0, 1)  # neither failed nor finished
    subprocess.run(command(out, *words), check=True, capture_output=True)
    assert records(out) == whole
    assert {path.name for path in out.iterdir()} <= {"study.db", "report.html", "all.json", ".lock"}


def test_a_function_that_never_looks_is_ended_after_the_grace_period_and_runs_again(tmp_path: Path) -> None:
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
    subprocess.run(command(out, *words), cwd=tmp_path, check=True, capture_output=True)
