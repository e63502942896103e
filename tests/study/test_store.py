"""The store: records are read back bit for bit, and files that are no study are refused."""

import dataclasses
import re
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slopewise.errors import StoreError
from slopewise.records import AlarmRecord, EpochRecord, RepeatRecord, ScoreRecord, TrialRecord
from slopewise.study import FILE, Store, StudySpec, holds_study, parse_spec, read_counts, read_study
from slopewise.testing import synthetic_study

from .stores import write_schema1, write_schema2, write_schema3, write_schema4

DATA = {"digest": "d", "classes": ["0", "1"]}
SPEC = StudySpec(arms="relu,prelu_shared", seeds=2)


def test_a_study_comes_back_as_it_was_written(tmp_path: Path) -> None:
    trials = synthetic_study(("relu", "prelu_shared"), 2, epochs=3, diverged={"prelu_shared": 1}).trials
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        for trial in reversed(trials):
            store.add(dataclasses.replace(trial, environment="e"), {"cpu": "x"})
    record = read_study(tmp_path)
    assert parse_spec(record.spec) == SPEC
    expected = {(t.arm, t.seed): dataclasses.replace(t, environment="e") for t in trials}
    assert [(t.arm, t.seed) for t in record.trials] == [(a, s) for s in (0, 1) for a in ("relu", "prelu_shared")]
    assert all(trial == expected[trial.arm, trial.seed] for trial in record.trials)
    assert record.environments == {"e": {"cpu": "x"}}
    assert record.stored
    assert record.stored[0] <= record.stored[1] <= time.time() + 1
    assert (record.control, record.primary.chance, record.margin) == ("relu", 0.5, 0.5)


@settings(deadline=None, max_examples=20)
@given(st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_numbers_keep_every_bit_and_text_every_character(
    tmp_path_factory: pytest.TempPathFactory, number: float, text: str
) -> None:
    trial = TrialRecord(
        "relu", 0, "failed", error=text,
        epochs=(EpochRecord(0, 0, number, None),), scores=(ScoreRecord(None, "test", "loss", number),),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("s")
    with closing(Store.create(folder, SPEC, DATA)) as store:
        store.add(trial, None)
    (back,) = read_study(folder).trials
    assert back.error == text
    assert struct.pack("d", back.score("test", "loss")) == struct.pack("d", number)
    assert back.epochs == trial.epochs


def test_a_trial_is_stored_once_and_only_a_failed_one_is_replaced(tmp_path: Path) -> None:
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        store.add(TrialRecord("relu", 0, "failed", error="first"), None)
        store.add(TrialRecord("relu", 0, "finished", steps=1), None)
        store.add(TrialRecord("relu", 0, "failed", error="too late"), None)
        store.add(TrialRecord("relu", 0, "finished", steps=2), None)
    record = read_study(tmp_path)
    assert [(t.arm, t.seed, t.status, t.steps) for t in record.trials] == [("relu", 0, "finished", 1)]
    assert record.repeats == (RepeatRecord("relu", 0, "", equal=False, same_identity=False),)


def test_repeats_are_compared_bit_by_bit_and_counted_once(tmp_path: Path) -> None:
    first = TrialRecord("relu", 0, "finished", scores=(ScoreRecord(None, "test", "loss", 0.0),), identity="i")
    slower = dataclasses.replace(first, seconds=2.0, attempts=2, environment="other", identity="j")
    other = dataclasses.replace(first, seconds=3.0, scores=(ScoreRecord(None, "test", "loss", -0.0),))
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        for trial in (first, first, slower, slower, other):  # a commit may be repeated, for its answer may be lost
            store.add(trial, None)
    repeats = [(repeat.equal, repeat.same_identity) for repeat in read_study(tmp_path).repeats]
    assert repeats == [(True, False), (False, True)]
    assert read_study(tmp_path).trials == (first,)


def test_a_file_without_repeats_is_read_and_goes_on(tmp_path: Path) -> None:
    relu, prelu = synthetic_study(("relu", "prelu_shared"), 1, epochs=2).trials
    write_schema4(tmp_path, SPEC, DATA, [relu])
    record = read_study(tmp_path)
    assert (record.trials, record.damaged, record.repeats) == ((relu,), (), ())
    assert read_counts(tmp_path).ended == 1
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        store.add(prelu, None)
        store.add(dataclasses.replace(relu, seconds=1.5), None)
    record = read_study(tmp_path)
    assert record.trials == (relu, prelu)
    assert [repeat.equal for repeat in record.repeats] == [True]


def test_a_broken_write_leaves_nothing_of_its_trial(tmp_path: Path) -> None:
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        with pytest.raises(TypeError):  # an environment that is no plain data, after the trial itself
            store.add(TrialRecord("relu", 0, "finished", environment="e"), {"cpu": object()})
        assert read_study(tmp_path).trials == ()


def test_files_that_are_no_study_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no study in"):
        read_study(tmp_path)
    (tmp_path / FILE).touch()
    for read in (read_study, read_counts):
        with pytest.raises(StoreError, match=r"no study in .* yet: .* is empty"):
            read(tmp_path)
    (tmp_path / FILE).write_text("this is no database, but it is long enough to look like one" * 20)
    for attempt in (read_study, read_counts, lambda folder: Store.create(folder, SPEC, DATA)):
        with pytest.raises(StoreError, match="is not a SQLite file"):
            attempt(tmp_path)
    (tmp_path / FILE).unlink()
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("CREATE TABLE t (x)")
    for attempt in (read_study, read_counts, lambda folder: Store.create(folder, SPEC, DATA)):
        with pytest.raises(StoreError, match="not a study of this version"):
            attempt(tmp_path)


def test_a_study_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(TypeError):  # facts that JSON cannot hold
        Store.create(tmp_path, SPEC, {"digest": object()})
    assert not (tmp_path / FILE).exists()
    with closing(sqlite3.connect(tmp_path / FILE)) as killed:  # at the first moment of its making
        killed.execute("PRAGMA journal_mode = WAL")
    assert (tmp_path / FILE).stat().st_size
    assert not holds_study(tmp_path)
    with pytest.raises(StoreError, match=r"no study in .* yet"):
        read_study(tmp_path)
    Store.create(tmp_path, SPEC, DATA).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as store:
        store.execute("DELETE FROM study")
        store.commit()
    with pytest.raises(StoreError, match="has lost what its study was asked"):
        read_study(tmp_path)


def test_a_file_from_before_a_kind_of_record_is_read_and_goes_on(tmp_path: Path) -> None:
    relu, prelu = synthetic_study(("relu", "prelu_shared"), 1, epochs=1).trials
    write_schema1(tmp_path, SPEC.model_dump(mode="json"), DATA, [relu], without=[("operator_costs", "")])
    assert read_study(tmp_path).trials == (relu,)
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        store.add(prelu, None)
    assert read_study(tmp_path).trials == (relu, prelu)
    assert prelu.operator_costs


def test_a_file_with_a_column_for_each_score_is_read_and_goes_on(tmp_path: Path) -> None:
    relu, prelu = synthetic_study(("relu", "prelu_shared"), 1, epochs=2).trials
    write_schema2(tmp_path, SPEC, DATA, [relu])
    record = read_study(tmp_path)
    assert record.trials == (relu,)
    assert record.damaged == ()
    assert read_counts(tmp_path).ended == 1
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        store.add(prelu, None)
    assert read_study(tmp_path).trials == (relu, prelu)
    with closing(sqlite3.connect(tmp_path / FILE)) as tool:
        rows = tool.execute("SELECT count(*), max(value) FROM scores WHERE part = 'test' AND metric = 'accuracy'")
        assert rows.fetchone() == (2, max(trial.score("test", "accuracy") for trial in (relu, prelu)))


def test_a_file_without_cells_is_read_and_goes_on(tmp_path: Path) -> None:
    relu, prelu = synthetic_study(("relu", "prelu_shared"), 1, epochs=2).trials
    write_schema3(tmp_path, SPEC, DATA, [relu])
    record = read_study(tmp_path)
    assert (record.trials, record.damaged, record.cells) == ((relu,), (), ())
    assert read_counts(tmp_path).ended == 1
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        store.add(prelu, None)
    assert read_study(tmp_path).trials == (relu, prelu)


def test_other_data_under_an_old_study_are_refused(tmp_path: Path) -> None:
    Store.create(tmp_path, SPEC, DATA).close()
    with pytest.raises(StoreError, match="the data changed"):
        Store.create(tmp_path, SPEC, {**DATA, "digest": "other"})


def test_a_study_may_gain_arms_and_seeds(tmp_path: Path) -> None:
    Store.create(tmp_path, SPEC, DATA).close()
    more = StudySpec(arms="relu,elu,prelu_shared", seeds=4)
    Store.create(tmp_path, more, DATA).close()
    assert parse_spec(read_study(tmp_path).spec) == more
    with pytest.raises(StoreError, match=r"holds another study: arm elu is gone; seeds 2, 3 are gone\. Only new"):
        Store.create(tmp_path, SPEC, DATA)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": {"lr": 0.1}}, "train.lr was 0.05, now 0.1"),
        ({"model": {"options": {"width": 8}}}, "model.options.width was None, now 8"),
        ({"control": "prelu_shared"}, "control was 'relu', now 'prelu_shared'"),
        ({"arms": ["relu", {"name": "prelu_shared", "activation": "elu"}]}, "arm prelu_shared was"),
        ({"data": {"source": "fashion-mnist"}}, "data.source was 'digits'"),
        ({"margin": 1.0}, "margin was 0.5"),
    ],
)
def test_any_other_change_is_named(change: dict[str, object], words: str, tmp_path: Path) -> None:
    new = parse_spec({"arms": "relu,prelu_shared", "seeds": 2, "train": {"lr": 0.05}, **change})
    old = parse_spec({"arms": "relu,prelu_shared", "seeds": 2, "train": {"lr": 0.05}})
    Store.create(tmp_path, old, DATA).close()
    with pytest.raises(StoreError, match=f"holds another study: (.*; )?{re.escape(words)}"):
        Store.create(tmp_path, new, DATA)


def test_the_path_of_the_data_may_change(tmp_path: Path) -> None:
    for path in ("a.npz", "b/a.npz"):
        Store.create(tmp_path, parse_spec({"data": {"source": "npz", "path": path}}), DATA).close()


def test_a_file_from_before_a_field_is_read_and_goes_on(tmp_path: Path) -> None:
    relu, prelu = synthetic_study(("relu", "prelu_shared"), 1, epochs=1).trials
    lacking = [("sites", "pass_through"), ("sites", "positive"), ("trials", "monitor_seconds")]
    write_schema1(tmp_path, SPEC.model_dump(mode="json"), DATA, [relu], without=lacking)
    (read,) = read_study(tmp_path).trials
    assert {(site.positive, site.pass_through) for site in read.sites} == {(None, None)}
    assert [site.units for site in read.sites] == [site.units for site in relu.sites]
    with closing(Store.create(tmp_path, SPEC, DATA)) as store:
        store.add(prelu, {})
    assert read_study(tmp_path).trials == (read, prelu)


def test_names_of_files_that_are_no_utf8_are_stored_as_escapes(tmp_path: Path) -> None:
    name = b"\xff.png".decode(errors="surrogateescape")
    _, prelu = synthetic_study(("relu", "prelu_shared"), 1, epochs=1).trials
    alarm = AlarmRecord("dead-units", name, step=3, since=1, evidence=name)
    failed = TrialRecord("relu", 0, "failed", error=f"cannot read {name}")
    with closing(Store.create(tmp_path, SPEC, {**DATA, "classes": [name, "b"]})) as store:
        store.add(failed, {"file": name})
        store.add(dataclasses.replace(prelu, alarms=(alarm,)), None)
    first, second = read_study(tmp_path).trials
    assert first.error == "cannot read \\udcff.png"
    assert second.alarms[0].where == "\\udcff.png"
