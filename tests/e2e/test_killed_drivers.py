"""A driver that is killed fifty times in one study: nothing that has ended is lost, and the records are as without."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from slopewise.study import Study, holds_study, load_study
from slopewise.testing import InProcessEngine, untimed

pytestmark = pytest.mark.slow

# A process that has imported PyTorch once, and whose forks are drivers: each is a process of its own.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["slopewise.study.engines", "slopewise.testing", "lightning_fabric", "sklearn.datasets"])

KILLS = 50
STUDY = {
    "arms": "relu,elu,silu",
    "seeds": 25,
    "data": {"train_size": 60},
    "model": {"options": {"width": 2}},
    "train": {"epochs": 2, "batch_size": 30},
    "monitor": {"every": 1},
}


def drive(folder: Path, pipe: Connection) -> None:
    pipe.send("started")
    Study(**STUDY).run(folder, engine=InProcessEngine(), on_event=lambda event: pipe.send(type(event).__name__))
    pipe.send("done")


def run_and_kill(folder: Path, moment: random.Random) -> str:
    """Start a driver, and kill it some random time after a random event; return the event, or "done" if it ended."""
    ours, theirs = SERVER.Pipe(duplex=False)
    driver = SERVER.Process(target=drive, args=(folder, theirs))
    driver.start()
    theirs.close()
    event, events = "", moment.choice([0, 1, 2, 3, 4, 5, 6, 9, 10])
    with ours, suppress(EOFError):
        for _ in range(events + 1):
            event = ours.recv()
            if event == "done":
                break
        else:
            time.sleep(moment.random() ** 2 * 0.1)
    driver.kill()
    driver.join()
    return event


def test_fifty_kills_of_the_driver_lose_nothing_and_change_no_bit(tmp_path: Path) -> None:
    moment, killed, before = random.Random(16), Counter[str](), 0
    for _ in range(KILLS):
        killed[run_and_kill(tmp_path / "killed", moment)] += 1
        if holds_study(tmp_path / "killed"):
            record = load_study(tmp_path / "killed").record
            assert record.damaged == ()
            assert len(record.trials) >= before
            before = len(record.trials)
    print(dict(killed), before)  # noqa: T201 - shown by -rP
    assert killed["done"] == 0, "the study is too small for fifty kills"
    assert before > 0
    study = Study(**STUDY)
    resumed = study.run(tmp_path / "killed", engine=InProcessEngine()).record
    whole = study.run(tmp_path / "whole", engine=InProcessEngine()).record
    assert [untimed(trial) for trial in resumed.trials] == [untimed(trial) for trial in whole.trials]
    assert len(whole.trials) == whole.planned
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
