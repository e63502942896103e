"""Readers and the driver of one store: neither waits for the other, and whoever else locks it costs only time."""

import dataclasses
import shutil
import sqlite3
import threading
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from slopewise.errors import SlopewiseWarning
from slopewise.records import TRIAL_PARTS
from slopewise.study._spec import StudySpec
from slopewise.study._store import FILE, Store, _store, last_change, read_counts, read_study
from slopewise.study._store._sqlite import file_system
from slopewise.testing import synthetic_study

ARMS = ("relu", "prelu_shared")
SPEC = StudySpec(arms=",".join(ARMS), seeds=4)
STUDY = synthetic_study(ARMS, 4, epochs=2, diverged={"prelu_shared": 1}, failed={"relu": 1})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A study of eight trials of which one has ended, open for its driver."""
    store = Store.create(tmp_path, SPEC, STUDY.data)
    store.add(STUDY.trials[0], None)
    return store


def rest(store: Store) -> None:
    with closing(store):
        for trial in STUDY.trials[1:]:
            store.add(trial, None)


def test_an_open_select_is_not_in_the_drivers_way(store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM records").fetchone() == (1,)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rest(store)  # at once: it has no word to say
        assert reader.execute("SELECT count(*) FROM records").fetchone() == (1,)  # still its own moment
        assert len(read_study(tmp_path).trials) == 8  # of which others see the end
    assert len(read_study(tmp_path).trials) == 8


def test_reading_leaves_nothing_and_one_file_is_left(store: Store, tmp_path: Path) -> None:
    assert len(read_study(tmp_path).trials) == 1
    rest(store)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    before = (tmp_path / FILE).read_bytes()
    read_study(tmp_path)
    read_counts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_bytes() == before


def test_what_a_killed_driver_left_is_read_whole_and_left_as_it_is(store: Store, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    for trial in STUDY.trials[1:]:
        store.add(trial, None)
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"{FILE}{suffix}", killed)
    store.close()
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    assert len(before[f"{FILE}-wal"]) > 0
    assert read_study(killed) == read_study(tmp_path)
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before
    Store.create(killed, SPEC, STUDY.data).close()
    assert [path.name for path in killed.iterdir()] == [FILE]
    assert read_study(killed) == read_study(tmp_path)


def test_every_commit_shows_in_the_last_change(store: Store, tmp_path: Path) -> None:
    seen = {last_change(tmp_path / FILE)}
    for trial in STUDY.trials[1:]:
        store.add(trial, None)
        seen.add(last_change(tmp_path / FILE))
    store.close()
    assert len(seen) == 8


@pytest.mark.parametrize("lock", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"])
def test_a_foreign_lock_is_waited_for_and_told_once(
    store: Store, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "_PATIENCE", 0.1)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)) as other:
        other.execute(lock)
        threading.Timer(1.0, other.execute, ["ROLLBACK"]).start()
        with pytest.warns(SlopewiseWarning, match="another program has .* locked: the study goes on") as said:
            rest(store)
    assert len(said) == 1
    assert len(read_study(tmp_path).trials) == 8


def test_without_a_log_a_reader_makes_the_driver_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network's file system, where no log can be shared."""
    monkeypatch.setattr(_store, "begin_log", lambda _: None)
    monkeypatch.setattr(_store, "_PATIENCE", 0.1)
    store = Store.create(tmp_path, SPEC, STUDY.data)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)) as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        threading.Timer(1.0, reader.execute, ["ROLLBACK"]).start()
        with pytest.warns(SlopewiseWarning, match="locked") as said:
            rest(store)
    assert len(said) == 1
    assert len(read_study(tmp_path).trials) == 7


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "9p"])
def test_no_log_is_begun_where_it_cannot_be_shared(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:9 / {tmp_path} rw - {kind} server:/home rw\n")
    monkeypatch.setattr(f"{file_system.__module__}._MOUNTS", mounts)
    with closing(Store.create(tmp_path, SPEC, STUDY.data)), closing(sqlite3.connect(tmp_path / FILE)) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_counts_are_those_of_the_records(store: Store, tmp_path: Path) -> None:
    rest(store)
    counts = read_counts(tmp_path)
    assert (counts.planned, counts.ended) == (8, 8)
    for arm in counts.arms:
        trials = [trial for trial in read_study(tmp_path).trials if trial.arm == arm.arm]
        finished = [trial for trial in trials if trial.status == "finished"]
        diverged = sum(trial.diverged for trial in finished)
        assert dataclasses.astuple(arm)[1:] == (len(finished), diverged, len(trials) - len(finished), 0)


def test_any_sqlite_tool_reads_rows(store: Store, tmp_path: Path) -> None:
    rest(store)
    study = read_study(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as tool:
        tool.row_factory = sqlite3.Row
        trials = tool.execute("SELECT * FROM trials ORDER BY seed, arm DESC").fetchall()
        assert [row["test_accuracy"] for row in trials] == [trial.test_accuracy for trial in study.trials]
        for name, record in TRIAL_PARTS.items():
            fields = [f.name for f in dataclasses.fields(record)]
            expected = [
                (trial.arm, trial.seed, *(getattr(row, field) for field in fields))
                for trial in study.trials
                for row in getattr(trial, name)
            ]
            assert [tuple(row) for row in tool.execute(f"SELECT * FROM {name} ORDER BY seed, arm DESC")] == expected
