"""Readers and the driver of one store: neither waits for the other, and locks of other programs cost only time."""

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from slopewise.errors import StoreWarning
from slopewise.records import TRIAL_PARTS
from slopewise.study import FILE, Store, Study, StudySpec, Terminated, last_change, read_counts, read_study
from slopewise.study._store import _patience, _sqlite, _sqlite_store
from slopewise.study._store._sqlite import file_system
from slopewise.testing import synthetic_study

ARMS = ("relu", "prelu_shared")
SPEC = StudySpec(arms=",".join(ARMS), seeds=4)
STUDY = synthetic_study(ARMS, 4, epochs=2, diverged={"prelu_shared": 1}, failed={"relu": 1})
ENVIRONMENT = STUDY.environments["synthetic"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A study of eight trials of which one has ended, open for its driver."""
    store = Store.create(tmp_path, SPEC, STUDY.data)
    store.add(STUDY.trials[0], ENVIRONMENT)
    return store


@contextmanager
def locked(path: Path, lock: str, seconds: float = 2.0) -> Iterator[None]:
    """Hold a lock in the manner of another program, until the block or the time has ended."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        for statement in lock.split("; "):
            other.execute(statement).fetchall()
        end = threading.Timer(seconds, other.execute, ["ROLLBACK"])
        end.start()
        yield
        end.cancel()
        end.join()


def rest(store: Store) -> None:
    with closing(store):
        for trial in STUDY.trials[1:]:
            store.add(trial, ENVIRONMENT)


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


def test_files_of_a_killed_driver_are_read_whole_and_left_unchanged(store: Store, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    for trial in STUDY.trials[1:]:
        store.add(trial, ENVIRONMENT)
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
    seen = {last_change(tmp_path)}
    for trial in STUDY.trials[1:]:
        store.add(trial, ENVIRONMENT)
        seen.add(last_change(tmp_path))
    store.close()
    assert len(seen) == 8


@pytest.mark.parametrize("lock", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"])
def test_a_foreign_lock_is_waited_for_with_one_warning(
    store: Store, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_patience, "_QUIET", 0.1)
    with locked(tmp_path / FILE, lock), pytest.warns(StoreWarning, match="has locked .*waiting until") as warned:
        rest(store)
    assert len(warned) == 1
    assert len(read_study(tmp_path).trials) == 8


SHARED = "BEGIN; SELECT count(*) FROM sqlite_master"


@pytest.mark.parametrize("lock", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE", SHARED])
def test_a_driver_waits_for_locks_at_its_beginning_too(
    store: Store, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest(store)  # one file without a log, in which a reader is in the way
    monkeypatch.setattr(_patience, "_QUIET", 0.1)
    monkeypatch.setattr(_sqlite, "_WAIT", 0.1)
    more = StudySpec(arms=",".join(ARMS), seeds=5)
    with locked(tmp_path / FILE, lock), pytest.warns(StoreWarning, match="waiting until"):
        begin(more, tmp_path)
    assert read_study(tmp_path).seeds == (0, 1, 2, 3, 4)


def begin(spec: StudySpec, folder: Path) -> None:
    assert len(Study(spec).missing(folder)) == 2
    Store.create(folder, spec, STUDY.data).close()


@pytest.mark.parametrize("signalled", [KeyboardInterrupt, Terminated])
def test_ending_a_command_does_not_wait_for_a_lock(
    signalled: type[BaseException],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from slopewise.cli import app

    rest(store)
    monkeypatch.setattr(_sqlite, "_WAIT", 0.1)
    with ExitStack() as stack:

        def end(*_: object, **__: object) -> None:
            stack.enter_context(locked(tmp_path / FILE, "BEGIN EXCLUSIVE", seconds=3600))
            raise signalled

        monkeypatch.setattr(Study, "run", end)
        command = ["run", "--arms", ",".join(ARMS), "--seeds", "4", "--out", str(tmp_path)]
        status = app(command, standalone_mode=False)
    assert status == (130 if signalled is KeyboardInterrupt else 75)
    assert "the same command goes on" in capsys.readouterr().err


def test_the_file_alone_has_every_trial_while_nobody_reads(store: Store, tmp_path: Path) -> None:
    for number, trial in enumerate(STUDY.trials[1:], start=2):
        store.add(trial, ENVIRONMENT)
        copy = tmp_path / f"{number}"
        copy.mkdir()
        shutil.copy(tmp_path / FILE, copy)
        assert len(read_study(copy).trials) == number
    store.close()


def test_a_commit_cut_off_without_a_log_is_read_whole(store: Store, tmp_path: Path) -> None:
    rest(store)
    code = f"""
import os, sqlite3
file = sqlite3.connect({str(tmp_path / FILE)!r}, isolation_level=None)
file.execute("PRAGMA cache_size = 1")
file.execute("BEGIN")
file.execute("UPDATE records SET sites = zeroblob(20000)")  # more than the cache holds
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before.keys() == {FILE, f"{FILE}-journal"}
    record = read_study(tmp_path)
    assert (len(record.trials), record.damaged) == (8, ())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("state", ["ended", "killed", "its log alone", "in wal mode alone"])
def test_a_folder_that_cannot_be_written_can_be_read(store: Store, tmp_path: Path, state: str) -> None:
    folder = tmp_path / "read_only"
    folder.mkdir()
    for trial in STUDY.trials[1:]:
        store.add(trial, ENVIRONMENT)
    if state == "ended":
        store.close()
    suffixes = {"ended": [""], "killed": ["", "-wal", "-shm"], "its log alone": ["", "-wal"], "in wal mode alone": [""]}
    for suffix in suffixes[state]:
        shutil.copy(tmp_path / f"{FILE}{suffix}", folder)
        (folder / f"{FILE}{suffix}").chmod(0o444)
    folder.chmod(0o555)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code = f"from slopewise.study import read_counts; print(read_counts({str(folder)!r}).ended)"
    ended = subprocess.run([*unprivileged(), sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert ended.stdout == "8\n", ended.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    store.close()


@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_file_that_may_not_be_read_is_an_error_in_one_line(store: Store, tmp_path: Path, verb: str) -> None:
    rest(store)
    (tmp_path / FILE).chmod(0)
    command = [*unprivileged(), sys.executable, "-m", "slopewise", verb, tmp_path]
    ended = subprocess.run(command, text=True, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"error: cannot read the store '{tmp_path / FILE}': Permission denied\n"


def unprivileged() -> list[str]:
    """Begin a command that may not write everywhere, as root may."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.fail("this test needs `setpriv` (util-linux) when it runs as root")
    bounds = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={bounds}", f"--inh-caps={bounds}"]


def test_without_a_log_a_reader_makes_the_driver_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network's file system, where no log can be shared."""
    monkeypatch.setattr(_sqlite_store, "begin_log", lambda _: None)
    monkeypatch.setattr(_patience, "_QUIET", 0.1)
    store = Store.create(tmp_path, SPEC, STUDY.data)
    with closing(sqlite3.connect(tmp_path / FILE)) as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with locked(tmp_path / FILE, SHARED), pytest.warns(StoreWarning, match="waiting until") as warned:
        rest(store)
    assert len(warned) == 1
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
        assert [row["steps"] for row in trials] == [trial.steps for trial in study.trials]
        for name, record in TRIAL_PARTS.items():
            fields = [f.name for f in dataclasses.fields(record)]
            expected = [
                (trial.arm, trial.seed, trial.cell, *(getattr(row, field) for field in fields))
                for trial in study.trials
                for row in getattr(trial, name)
            ]
            assert [tuple(row) for row in tool.execute(f"SELECT * FROM {name} ORDER BY seed, arm DESC")] == expected
