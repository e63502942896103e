"""Columns and scores of a stored trial: equal to those of its rows, and read without decoding the rows."""

import dataclasses
import json
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slopewise.analysis import analyse
from slopewise.analysis.claims import ledger
from slopewise.errors import StoreError
from slopewise.records import TRIAL_PARTS, AlarmRecord, ScoreRecord, SiteRecord, TrialRecord
from slopewise.report import render_html
from slopewise.study import Store, StudySpec, read_study
from slopewise.study._store._encoded import Encoded
from slopewise.study._store._packed import encode, pack, seal, unpack
from slopewise.testing import synthetic_study

# Names with all that could be taken for the end of a column or for a key.
NAMES = st.sampled_from(["act", '"],"units":[', "]}", "a,b", "\\", '"', "\ud800", ',"slopes":[1', "é"])
NUMBERS = st.none() | st.floats(allow_nan=False)
SMALL = st.integers(0, 3)
SITES = st.lists(st.builds(SiteRecord, SMALL, NAMES, SMALL, SMALL, *[NUMBERS] * 5, st.floats(0, 1), NUMBERS))
SCORES = st.lists(
    st.builds(ScoreRecord, st.none() | st.integers(0, 3), st.sampled_from(["train", "test"]), NAMES, NUMBERS),
    unique_by=lambda row: (row.epoch, row.part, row.metric),
)


def stored(trial: TrialRecord) -> TrialRecord:
    """Return the trial as a store returns it."""
    row = pack(trial)
    parts = [row[name] for name in TRIAL_PARTS]
    texts = [text.encode() if isinstance(text, str) else text for text in (row["sha256"], row["facts"], *parts)]
    back = unpack([trial.arm.encode(), trial.seed, trial.status.encode(), *texts])
    assert back is not None
    return back


@settings(deadline=None)
@given(SITES, SCORES, st.none() | st.integers(0, 3))
def test_columns_and_scores_are_those_of_the_rows(sites, scores, last):
    alarms = (AlarmRecord("slope", 'at "],"step":[', 3, 2, "]"),)
    trial = TrialRecord("relu", 0, "finished", sites=tuple(sites), scores=tuple(scores), alarms=alarms)
    plain = unpack_rows(stored(trial))
    last = None if last is None else min(last, len(sites))
    for part, record in TRIAL_PARTS.items():
        names = [field.name for field in dataclasses.fields(record)]
        back = stored(trial).columns(part, *names, last=last if part == "sites" else None)
        assert [[*column] for column in back] == [
            [*column] for column in plain.columns(part, *names, last=last if part == "sites" else None)
        ]
    assert stored(trial).final_scores() == plain.final_scores()
    for key in {(row.part, row.metric) for row in plain.scores}:
        assert stored(trial).curve(*key) == plain.curve(*key)
        for epoch in (None, 0, 1, 2, 3):
            assert stored(trial).score(*key, epoch) == plain.score(*key, epoch)
    assert stored(trial).renamed("b") == dataclasses.replace(plain, arm="b")


def unpack_rows(trial: TrialRecord) -> TrialRecord:
    """Return the trial with its parts as plain tuples."""
    return TrialRecord(**{field.name: getattr(trial, field.name) for field in dataclasses.fields(TrialRecord)})


def test_columns_of_texts_that_other_versions_wrote():
    """Another order of the fields, blanks, and a field that was added later: read through the rows."""
    text = json.dumps({"metric": ["loss"], "value": [0.5], "part": ["test"], "epoch": [None]}).encode()
    scores = Encoded(ScoreRecord, text)
    assert [[*column] for column in scores.columns(("value", "metric"))] == [[0.5], ["loss"]]
    numbers = ("slope_min", "slope_q1", "slope_median", "slope_q3", "slope_max", "never_positive", "zero_gradient")
    early = {"epoch": [0], "layer": ["act"], "units": [4], "slopes": [0], **{name: [0.5] for name in numbers}}
    sites = Encoded(SiteRecord, encode(early).encode())
    assert [[*column] for column in sites.columns(("positive", "units"))] == [[None], [4]]


@pytest.mark.parametrize("text", ["[1]", "{}", '{"epoch":[1,2],"part":["test"],"metric":["loss"],"value":[1.0]}', "["])
def test_a_malformed_part_is_named(text):
    trial = dataclasses.replace(synthetic_study(("relu",), 1, epochs=1).trials[0], sites=(), gradients=())
    row = pack(trial)
    parts = [row[name] for name in TRIAL_PARTS if name != "scores"]
    names = [*TRIAL_PARTS]
    parts.insert(names.index("scores"), text)
    digest = seal(trial.arm, "0", trial.status, row["facts"], *parts)
    texts = [None if part is None else part.encode() for part in parts]
    back = unpack([b"relu", 0, b"finished", digest.encode(), row["facts"].encode(), *texts])
    with pytest.raises(StoreError, match="scores of relu seed 0 are not what this version writes"):
        back.score("test", "accuracy")


def test_analysis_and_page_decode_no_rows_but_alarms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = synthetic_study(("relu", "prelu_channel"), 4, epochs=3, diverged={"prelu_channel": 1})
    spec = StudySpec(arms="relu,prelu_channel", seeds=4, train={"epochs": 3})
    with closing(Store.create(tmp_path, spec, study.data)) as store:
        for trial in study.trials:
            store.add(trial, study.environments["synthetic"])
    decoded, rows = [], Encoded.rows
    monkeypatch.setattr(Encoded, "rows", lambda part: decoded.append(part.record.__name__) or rows(part))
    record = read_study(tmp_path)
    assert analyse(record).primary == analyse(study).primary
    assert ledger(record) == ledger(study)
    render_html(record)
    assert set(decoded) <= {"AlarmRecord", "OperatorCostRecord", "SiteRecord"}
    assert decoded.count("SiteRecord") <= len({trial.arm for trial in study.trials if trial.alarms})
