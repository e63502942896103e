"""A study followed through its store and its driver's file."""

import dataclasses
import json
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from slopewise.live import Study
from slopewise.study import FILE, Running, RunningTrial, Store, StudySpec, origin
from slopewise.testing import synthetic_study, with_cells

RUNNING = "running.json"
ARMS = ("relu", "prelu_shared")
STUDY = synthetic_study(ARMS, 2, epochs=3, diverged={"prelu_shared": 1})
TRIALS, ENVIRONMENT = STUDY.trials, STUDY.environments["synthetic"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of four trials of which one has ended."""
    with closing(Store.create(tmp_path, StudySpec(arms=",".join(ARMS), seeds=2), {"classes": ["0", "1"]})) as store:
        store.add(TRIALS[0], ENVIRONMENT)
    return tmp_path


def add(folder: Path, *trials: object) -> None:
    with closing(Store.open(folder)) as store:
        for trial in trials:
            store.add(trial, ENVIRONMENT)  # type: ignore[arg-type]


def runs(folder: Path, age: float = 0.0, *trials: RunningTrial) -> float:
    now = time.time()
    running = Running(123, now - 50, now - age, now - age, trials)
    (folder / RUNNING).write_text(json.dumps(dataclasses.asdict(running)))
    return now


def test_faults_name_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / FILE).write_bytes(b"no database" * 100)
    study = Study(folder)
    study.update()
    assert "is not a SQLite file" in study.error
    assert study.summary(time.time()).progress == "cannot be read"
    with closing(sqlite3.connect(folder / "other.db")) as other:
        other.execute("CREATE TABLE strange (x)")
    (folder / "other.db").replace(folder / FILE)
    study = Study(folder)
    study.update()
    assert "is not a study of this version" in study.error
    assert str(folder) in study.error


def test_it_goes_from_nothing_to_the_end(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()  # SQLite's first moment
    study = Study(tmp_path)
    study.update()
    assert (study.record, study.error, study.info) == (None, "", None)
    assert study.summary(time.time()).progress == "no trial yet"
    Store.create(tmp_path, StudySpec(arms=",".join(ARMS), seeds=2), {"classes": ["0", "1"]}).close()
    trial = RunningTrial("relu", 0, 1, 0.0, 0.0, 2, 0.5)
    now = runs(tmp_path, 0.0, trial)
    study.update()
    assert (study.state(now), study.trials) == ("running", (trial,))
    add(tmp_path, TRIALS[0])  # and the driver has not told yet that it has ended
    study._cost = 0.0
    study.update()
    assert (study.ended, study.planned, study.trials) == (1, 4, ())
    (tmp_path / RUNNING).unlink()
    study.update()
    assert study.state(now) == "stopped"
    add(tmp_path, *TRIALS[1:])
    study._cost = 0.0
    study.update()
    summary = study.summary(now)
    assert (summary.state, summary.progress, summary.alarms) == ("ended", "4 of 4 trials", "1 diverged")
    assert study.info
    assert [arm.finished for arm in study.info.analysis.arms] == [2, 2]


def test_a_driver_that_was_killed_or_hangs_is_noticed(folder: Path) -> None:
    study = Study(folder)
    now = runs(folder, 3600)
    study.update()
    assert study.state(now) == "stalled"
    now = runs(folder)
    study.update()
    assert study.state(now) == "running"
    seconds = TRIALS[0].seconds
    assert seconds
    slow = RunningTrial("relu", 1, 1, now - 1000, now - 900)  # its driver lives, but it says nothing
    (folder / RUNNING).write_text(json.dumps(dataclasses.asdict(Running(1, now - 1000, now - 900, now, (slow,)))))
    study.update()
    assert study.state(now) == ("stalled" if seconds / 3 * 5 < 900 else "running")


def test_a_file_left_by_a_killed_driver_is_no_running_driver(folder: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as driver:
        driver.kill()
    now = time.time()
    running = Running(driver.pid, now, now, now, (RunningTrial("relu", 1, 1, now, now),), origin())
    (folder / RUNNING).write_text(json.dumps(dataclasses.asdict(running)))
    study = Study(folder)
    study.update()
    assert (study.state(now), study.trials) == ("stopped", ())
    add(folder, *TRIALS[1:])
    study._cost = 0.0
    study.update()
    assert study.state(now) == "ended"


def test_a_store_that_takes_long_to_read_is_read_seldom(folder: Path) -> None:
    study = Study(folder)
    study.update()
    study._cost = 1000.0
    add(folder, TRIALS[1])
    study.update()
    assert (study.ended, study.behind) == (1, 1)
    assert study.state(time.time()) == "running"  # not "stopped": what ended it may be among what is unread
    study._cost = 0.0
    study.update()
    assert (study.ended, study.behind) == (2, 0)


def test_an_adaptive_study_ends_when_every_arm_is_decided(tmp_path: Path) -> None:
    whole = synthetic_study(("relu", "elu", "prelu_shared"), looks=(10, 16, 40), epochs=1, effects={"elu": -3.0})
    study = Study(tmp_path)
    study.record = dataclasses.replace(
        whole, trials=tuple(trial for trial in whole.trials if trial.seed < 16 or trial.arm == "relu")
    )
    assert study.info
    assert [contrast.decided for contrast in study.info.analysis.primary] == [True, False]
    assert (study.ended, study.planned) == (72, 96)
    assert study.summary(time.time()).progress == "72 of at most 96 trials"
    assert study.state(time.time()) == "stopped"
    both = synthetic_study(("relu", "elu"), looks=(10, 16, 40), epochs=1, effects={"elu": -3.0})
    study = Study(tmp_path)
    study.record = dataclasses.replace(both, trials=tuple(trial for trial in both.trials if trial.seed < 16))
    assert study.summary(time.time()).progress == "32 of 32 trials"
    assert study.state(time.time()) == "ended"


def test_trials_under_other_settings_count(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.record = with_cells(STUDY, tune=[0.1, 0.2], lr=[0.1], init=[0.25], seeds=3)
    assert study.planned == study.ended == 4 + 2 * 2 * 3 + 2 * 3
    first, *others = study.record.cells
    study.record = dataclasses.replace(study.record, cells=(dataclasses.replace(first, trials=()), *others))
    assert (study.ended, study.planned) == (16, 22)
