"""A study that is stopped at any moment goes on as if it had not been."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

COMMAND = [
    "run", "--data", "digits", "--model", "cnn", "--arms", "relu,prelu_channel", "--seeds", "5", "--epochs", "2",
    "--train-size", "200", "--json",
]  # fmt: skip
Cli = Callable[..., subprocess.CompletedProcess[str]]
TRIALS = 10  # enough that some are left whenever the signal comes
TIMES = {"seconds", "seconds_per_step", "monitor_seconds", "operator_costs", "attempts", "stored"}


def finished(folder: Path) -> int:
    if not (folder / "study.db").exists():
        return 0
    with closing(sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True)) as store:
        try:
            return store.execute("SELECT count(*) FROM trials").fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # its tables are not there yet


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def records(cli: Cli, folder: Path) -> object:
    assert cli("export", folder, "--to", folder / "all.json").returncode == 0
    return without_times(json.loads((folder / "all.json").read_text()))


def session(leader: int) -> list[int]:
    """Processes of a session that have not ended: a driver, and workers in process groups of their own."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
            if int(number) == leader and state not in "ZX":
                processes.append(int(path.parent.name))
    return processes


def expect_end(leader: int) -> None:
    deadline = time.monotonic() + 10
    while session(leader):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.02)


def hear_ctrl_c() -> None:
    """As on a terminal; a test run in the background would pass on that it ignores the signal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def launch(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "slopewise", *COMMAND, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - this process has no threads
    )


def start(out: Path) -> subprocess.Popen[str]:
    process = launch(out)
    deadline = time.monotonic() + 120
    while finished(out) == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no trial ended"
        time.sleep(0.02)
    return process


def primary(result: dict[str, object]) -> list[object]:
    return [contrast for contrast in result["contrasts"] if contrast["metric"] != "seconds_per_step"]


def test_killed_and_repeated_is_bitwise_the_uninterrupted_run(tmp_path: Path, cli: Cli) -> None:
    process = start(tmp_path / "out")
    process.kill()
    process.communicate()
    trials = finished(tmp_path / "out")
    assert 1 <= trials < TRIALS
    ended, whole = (cli(*COMMAND, "--out", tmp_path / out) for out in ("out", "whole"))
    assert ended.returncode == whole.returncode == 0
    assert f"{TRIALS - trials}/{TRIALS - trials} trials done" in ended.stderr
    assert session(process.pid) == []
    assert records(cli, tmp_path / "out") == records(cli, tmp_path / "whole")
    assert primary(json.loads(ended.stdout)) == primary(json.loads(whole.stdout))
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"study.db", "report.html", "all.json", ".lock"}


@pytest.mark.parametrize(
    ("kill", "number", "status", "word"),
    [
        (os.killpg, signal.SIGINT, 130, "interrupted"),  # as a terminal does
        (os.kill, signal.SIGTERM, 75, "terminated"),  # as supervisors do
    ],
)
def test_a_signal_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path, kill, number, status, word) -> None:  # type: ignore[no-untyped-def]
    process = start(tmp_path / "out")
    kill(process.pid, number)
    output, errors = process.communicate(timeout=60)
    expect_end(process.pid)
    assert process.returncode == status
    assert output == ""
    assert "Traceback" not in errors
    trials = finished(tmp_path / "out")
    assert 1 <= trials < TRIALS
    assert f"{word}: {trials} of {TRIALS} trials are kept" in errors
    assert "the same command goes on" in errors
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left - {"trials"} == {"study.db", ".lock"}  # and the checkpoints of the trials that ran
    assert {path.parent.name for path in (tmp_path / "out").glob("trials/*/*/*/*")} <= {"checkpoints"}


def test_ctrl_c_before_the_first_trial_is_as_quiet(tmp_path: Path) -> None:
    process = launch(tmp_path / "out")
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "study.db").exists():  # then workers are started
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    outlook, *rest = errors.splitlines()
    assert outlook.startswith("digits: "), errors
    assert rest[0].startswith(f"interrupted: 0 of {TRIALS} trials are kept"), errors
