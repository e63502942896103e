"""A damaged file: every reading is what was stored, or that without what it names, or an error in words."""

import dataclasses
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from slopewise.errors import SlopewiseWarning, StoreError
from slopewise.records import StudyRecord
from slopewise.report import summary_text, to_json
from slopewise.study._spec import StudySpec
from slopewise.study._store import FILE, Store, read_counts, read_study
from slopewise.study._study import Study
from slopewise.testing import synthetic_study

ARMS = ("relu", "prelu_shared")
SPEC = StudySpec(arms=",".join(ARMS), seeds=12)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, StudyRecord]:
    """The bytes of a study's file, and what it holds."""
    folder = tmp_path_factory.mktemp("whole")
    study = synthetic_study(ARMS, 12, epochs=2, diverged={"prelu_shared": 1}, failed={"relu": 1})
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
    """Read a file that may be damaged, and say what came of it."""
    try:
        counts = read_counts(folder)
    except StoreError:
        counts = None
    try:
        record = read_study(folder)
    except StoreError as error:
        said = str(error)
        assert str(folder) in said
        assert "\n" not in said
        return "refused"
    if counts:
        assert [arm.arm for arm in counts.arms] == list(ARMS)
    expected = {(trial.arm, trial.seed): trial for trial in whole.trials}
    found = {(trial.arm, trial.seed): trial for trial in record.trials}
    assert all(expected[key] == trial for key, trial in found.items())
    named = {f"{arm} seed {seed}" for arm, seed in expected.keys() - found.keys()}
    assert named <= set(record.damaged) or "trials that can no longer be told" in record.damaged or not named
    assert (record.spec, record.data, record.margin) == (whole.spec, whole.data, whole.margin)
    assert record.environments in ({}, whole.environments)
    if not record.damaged:
        assert record == whole
        return "whole"
    assert f"left out: {record.damaged[0]}" in summary_text(record)
    assert to_json(record)["damaged"] == list(record.damaged)
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
    text = f'"test_loss":{record.trials[3].test_loss}'.encode()
    assert whole.count(text) == 1
    return whole.replace(text, text[:-1] + (b"1" if text[-1:] != b"1" else b"2"))


def test_a_damaged_trial_is_missing_and_trained_anew(stored: tuple[bytes, StudyRecord], tmp_path: Path) -> None:
    lost = stored[1].trials[3]
    (tmp_path / FILE).write_bytes(broken(stored))
    record = read_study(tmp_path)
    assert record.damaged == (f"{lost.arm} seed {lost.seed}",)
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


def test_a_file_of_which_pages_are_lost_goes_on_with_the_others(
    stored: tuple[bytes, StudyRecord], tmp_path: Path
) -> None:
    whole, record = stored
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.deserialize(whole)
        (root,) = memory.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
        (size,) = memory.execute("PRAGMA page_size").fetchone()
    assert root
    for page in range(len(whole) // size - 1, 1, -1):  # the last page whose loss leaves something
        (tmp_path / FILE).write_bytes(whole[: page * size] + b"\xaa" * size + whole[(page + 1) * size :])
        try:
            found = read_study(tmp_path)
        except StoreError:
            continue
        if found.damaged and found.trials:
            break
    kept = found.trials
    with pytest.warns(SlopewiseWarning, match="was damaged"):
        Store.create(tmp_path, SPEC, record.data).close()
    again = read_study(tmp_path)
    assert (again.damaged, again.trials) == ((), kept)


def test_a_trial_that_was_read_is_like_any_other(stored: tuple[bytes, StudyRecord]) -> None:
    import pickle

    read = stored[1].trials[0]
    made = synthetic_study(ARMS, 12, epochs=2, diverged={"prelu_shared": 1}, failed={"relu": 1}).trials[0]
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
