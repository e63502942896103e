"""A damaged file: reading gives all that was stored, or the rest with the lost trials named, or a clear error."""

import dataclasses
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from slopewise.errors import SlopewiseWarning, StoreError
from slopewise.records import StudyRecord, TrialRecord
from slopewise.report import render_html, status_json, summary_text, to_json
from slopewise.study import FILE, Store, Study, StudySpec, read_counts, read_study
from slopewise.study._store import _sqlite_store
from slopewise.study._store._packed import COLUMNS, seal
from slopewise.testing import synthetic_study

ARMS = ("relu", "prelu_shared")
SEEDS = 4
SPEC = StudySpec(arms=",".join(ARMS), seeds=SEEDS)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, StudyRecord]:
    """The bytes of a study's file, and its record."""
    folder = tmp_path_factory.mktemp("whole")
    study = synthetic_study(ARMS, SEEDS, epochs=2, diverged={"prelu_shared": 1}, failed={"relu": 1})
    with closing(Store.create(folder, SPEC, study.data)) as store:
        for trial in study.trials:
            store.add(trial, study.environments["synthetic"])
    return (folder / FILE).read_bytes(), read_study(folder)


def flipped(whole: bytes, random: random.Random) -> Iterator[bytes]:
    for _ in range(500):
        place = random.randrange(len(whole))
        yield whole[:place] + bytes([whole[place] ^ (1 << random.randrange(8))]) + whole[place + 1 :]


def truncated(whole: bytes, random: random.Random) -> Iterator[bytes]:
    for _ in range(100):
        yield whole[: random.randrange(1, len(whole))]


def zeroed(whole: bytes, random: random.Random) -> Iterator[bytes]:
    for place in range(0, len(whole), 512):
        if random.random() < 0.5:
            yield whole[:place] + bytes(min(512, len(whole) - place)) + whole[place + 512 :]


def check(folder: Path, whole: StudyRecord) -> str:
    """Read a file that may be damaged, and return the outcome."""
    try:
        record = read_study(folder)
    except StoreError as error:
        message = str(error)
        assert str(folder) in message
        assert "\n" not in message
        with pytest.raises(StoreError):
            read_counts(folder)
        return "refused"
    counts = read_counts(folder)
    assert counts.damaged == record.damaged
    assert counts.ended == len(record.trials)
    expected = {(trial.arm, trial.seed): trial for trial in whole.trials}
    read = {(trial.arm, trial.seed): trial for trial in record.trials}
    assert all(expected[key] == trial for key, trial in read.items())
    named = {f"{arm} seed {seed}" for arm, seed in expected.keys() - read.keys()}
    assert named <= set(record.damaged) or "trials that can no longer be told" in record.damaged
    assert (record.spec, record.data, record.margin) == (whole.spec, whole.data, whole.margin)
    assert record.environments in ({}, whole.environments)
    if not record.damaged:
        assert record == whole
        return "whole"
    assert status_json(counts)["damaged"] == list(record.damaged)
    return "named"


@pytest.mark.parametrize("damage", [flipped, truncated, zeroed])
def test_damage_is_named_or_refused(
    damage: Callable[[bytes, random.Random], Iterator[bytes]], stored: tuple[bytes, StudyRecord], tmp_path: Path
) -> None:
    outcomes = []
    for text in damage(stored[0], random.Random(0)):
        (tmp_path / FILE).write_bytes(text)
        outcomes.append(check(tmp_path, stored[1]))
    assert {"named", "refused"} <= set(outcomes)  # it is not all refused, and some of it is met


def broken(stored: tuple[bytes, StudyRecord]) -> bytes:
    """The file with one character of one trial changed."""
    whole, record = stored
    text = f",{record.trials[3].score('test', 'loss')},".encode()
    assert whole.count(text) == 1
    return whole.replace(text, text[:-1] + (b"1" if text[-1:] != b"1" else b"2"))


def test_a_damaged_trial_is_missing_and_trained_anew(stored: tuple[bytes, StudyRecord], tmp_path: Path) -> None:
    lost = stored[1].trials[3]
    (tmp_path / FILE).write_bytes(broken(stored))
    record = read_study(tmp_path)
    assert record.damaged == (f"{lost.arm} seed {lost.seed}",)
    assert f"left out: {lost.arm} seed {lost.seed}. The same" in summary_text(record)
    assert f"left out: {lost.arm} seed {lost.seed}. The same" in render_html(record)
    assert to_json(record)["trials"] == status_json(read_counts(tmp_path))
    assert [(trial.arm, trial.seed) for trial in Study(SPEC).missing(tmp_path)] == [(lost.arm, lost.seed)]
    with (
        pytest.warns(
            SlopewiseWarning, match=rf"was damaged: it is kept as 'study\.db\.damaged-.* without {lost.arm} seed"
        ),
        closing(Store.create(tmp_path, SPEC, record.data)) as store,
    ):
        store.add(lost, None)
    assert read_study(tmp_path) == stored[1]
    (aside,) = tmp_path.glob("study.db.damaged-*")
    assert aside.read_bytes() == broken(stored)


@pytest.mark.parametrize("moment", range(4))
def test_no_whole_trial_is_lost_if_making_the_new_file_ends_early(
    moment: int, stored: tuple[bytes, StudyRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_bytes(broken(stored))
    before, data = read_study(tmp_path), stored[1].data
    with monkeypatch.context() as patched:
        steps = count()

        def or_end(step: Callable[..., object]) -> Callable[..., object]:
            """Ctrl-C, or a full disk, at one of the steps."""

            def run(*values: object, **options: object) -> object:
                if next(steps) == moment:
                    raise KeyboardInterrupt if moment % 2 else OSError(28, "No space left on device")
                return step(*values, **options)

            return run

        patched.setattr(_sqlite_store, "pack", or_end(_sqlite_store.pack) if moment == 0 else _sqlite_store.pack)
        patched.setattr(shutil, "copy2", or_end(shutil.copy2) if moment else shutil.copy2)
        patched.setattr(Path, "replace", or_end(Path.replace))
        patched.setattr(Path, "unlink", or_end(Path.unlink))
        patched.setattr(Path, "rename", or_end(Path.rename))
        with pytest.raises((StoreError, KeyboardInterrupt)):
            Store.create(tmp_path, SPEC, data)
    assert read_study(tmp_path) == before
    with pytest.warns(SlopewiseWarning, match="was damaged"):
        Store.create(tmp_path, SPEC, data).close()
    assert read_study(tmp_path).trials == before.trials
    assert not list(tmp_path.glob(".study.db*"))


def test_a_file_with_lost_pages_goes_on_with_the_others(stored: tuple[bytes, StudyRecord], tmp_path: Path) -> None:
    whole, record = stored
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.deserialize(whole)
        (root,) = memory.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
        (size,) = memory.execute("PRAGMA page_size").fetchone()
    assert root
    for page in range(len(whole) // size - 1, 1, -1):  # the last page whose loss leaves something
        (tmp_path / FILE).write_bytes(whole[: page * size] + b"\xaa" * size + whole[(page + 1) * size :])
        try:
            damaged = read_study(tmp_path)
        except StoreError:
            continue
        if damaged.damaged and damaged.trials:
            break
    whole_trials = damaged.trials
    with pytest.warns(SlopewiseWarning, match="was damaged"):
        Store.create(tmp_path, SPEC, record.data).close()
    again = read_study(tmp_path)
    assert (again.damaged, again.trials) == ((), whole_trials)


def change(folder: Path, table: str, **texts: str) -> None:
    """Write texts into a row under a digest that agrees, as another version or tool may."""
    with closing(sqlite3.connect(folder / FILE)) as file, file:
        columns = {"records": COLUMNS, "environments": ("digest", "sha256", "facts")}[table]
        (row,) = file.execute(f"SELECT {', '.join(columns)} FROM {table} LIMIT 1")
        new = dict(zip(columns, row, strict=True)) | texts
        sealed = [None if text is None else str(text) for name, text in new.items() if name != "sha256"]
        new["sha256"] = seal(*sealed) if "sha256" not in texts else texts["sha256"]
        marks = ", ".join(f"{name} = ?" for name in columns)
        file.execute(f"UPDATE {table} SET {marks} WHERE sha256 = ?", [*new.values(), row[columns.index("sha256")]])


@pytest.mark.parametrize("facts", ["[]", "{", '{"steps": 1, "steps', "7", "null"])
def test_content_that_no_version_writes_is_damage_though_its_digest_agrees(
    facts: str, stored: tuple[bytes, StudyRecord], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(stored[0])
    change(tmp_path, "records", facts=facts)
    assert len(read_study(tmp_path).damaged) == 1
    assert len(read_study(tmp_path).trials) == len(stored[1].trials) - 1


@pytest.mark.parametrize("epochs", ["[]", "{}", "7", '{"epoch": [0]}', '{"epoch": 3}'])
def test_parts_that_no_version_writes_are_an_error_in_one_line(
    epochs: str, stored: tuple[bytes, StudyRecord], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(stored[0])
    change(tmp_path, "records", epochs=epochs)
    with pytest.raises(StoreError, match="the epochs of relu seed 0"):
        summary_text(read_study(tmp_path))


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_damaged_environment_is_named_and_a_run_makes_up_for_it(
    how: str, stored: tuple[bytes, StudyRecord], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(stored[0])
    if how == "changed":
        change(tmp_path, "environments", sha256="0")
    else:
        with closing(sqlite3.connect(tmp_path / FILE)) as file, file:
            file.execute("DELETE FROM environments")
    record = read_study(tmp_path)
    assert (record.damaged, record.environments) == (("environment synthetic",), {})
    assert record.trials == stored[1].trials
    assert Study(SPEC).missing(tmp_path) == ()
    assert Study(SPEC)._to_be_written(tmp_path)
    with pytest.warns(SlopewiseWarning, match="was damaged"):
        store = Store.create(tmp_path, SPEC, record.data)
    assert read_study(tmp_path).damaged == ()
    with closing(store):
        (lost,) = read_study(tmp_path).environments.values()
        assert list(lost) == ["lost"]
        store.add(
            TrialRecord("relu", SEEDS - 1, "finished", environment="synthetic"), stored[1].environments["synthetic"]
        )
    assert read_study(tmp_path).environments == stored[1].environments


def test_a_live_page_and_a_listing_name_damage(stored: tuple[bytes, StudyRecord], tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from slopewise.live import Study as Followed
    from slopewise.live import make_app

    (tmp_path / FILE).write_bytes(broken(stored))
    followed = Followed(tmp_path)
    followed.update()
    (name,) = read_study(tmp_path).damaged
    assert "1 damaged" in followed.summary(0.0).alarms
    client = TestClient(make_app(tmp_path), base_url="http://localhost")
    (path,) = re.findall(r'href="(/runs/\w+)"', client.get("/").text)
    assert f"left out: {name}" in client.get(path).text


def test_a_trial_that_was_read_is_like_any_other(stored: tuple[bytes, StudyRecord]) -> None:
    import pickle

    read = stored[1].trials[0]
    made = synthetic_study(ARMS, SEEDS, epochs=2, diverged={"prelu_shared": 1}, failed={"relu": 1}).trials[0]
    assert read == made
    assert made == read
    assert hash(read) == hash(made)
    assert dataclasses.asdict(read) == dataclasses.asdict(made)
    assert repr(read) == repr(made)
    assert pickle.loads(pickle.dumps(read)) == made
    assert type(pickle.loads(pickle.dumps(read))) is type(made)
    assert dataclasses.replace(read, seed=5).epochs == made.epochs
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.seed = 3  # type: ignore[misc]
