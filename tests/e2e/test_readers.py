"""Readers beside a running study cost it nothing but time."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from slopewise.records import untimed
from slopewise.study import load_study

RUN = ["run", "--arms", "relu,prelu_channel", "--seeds", "2", "--epochs", "3", "--train-size", "300", "--workers", "1"]


def run(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "slopewise", *RUN, "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_readers_in_a_loop_and_an_open_select_change_no_bit(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    watched, alone = tmp_path / "watched", tmp_path / "alone"
    study = run(watched)
    while not (watched / "study.db").exists() or not (watched / "study.db").stat().st_size:
        assert study.poll() is None
        time.sleep(0.01)
    reads = 0
    with closing(sqlite3.connect(watched / "study.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # and its transaction stays open
        while study.poll() is None:
            for verb in ("status", "report"):
                ended = cli(verb, watched)
                reads += ended.returncode == 0
                assert "Traceback" not in ended.stderr
    words = study.communicate()[0]
    assert study.returncode == 0, words
    assert "locked" not in words
    assert reads > 2
    assert cli(*RUN, "--out", alone).returncode == 0
    one, other = (load_study(folder).record for folder in (watched, alone))
    assert [untimed(trial) for trial in one.trials] == [untimed(trial) for trial in other.trials]
    assert len(one.trials) == 4
