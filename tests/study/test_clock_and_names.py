"""A clock that is set back in mid-study, and names as long as a spec and a file system take them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slopewise.events import Epoch
from slopewise.study import Study, read_running
from slopewise.testing import InProcessEngine, untimed

FIELDS = {"data": {"train_size": 60}, "model": {"options": {"width": 2}}, "train": {"epochs": 2, "batch_size": 30}}


def test_a_clock_that_is_set_back_changes_no_record_and_the_study_still_counts_as_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(arms="relu,elu", seeds=2, **FIELDS)
    plain = study.run(tmp_path / "plain", engine=InProcessEngine()).record
    now, jumps, seen = time.time, [], []

    def look(event: object) -> None:
        if isinstance(event, Epoch):
            jumps.append(event)  # each epoch the clock jumps an hour back
            seen.append(read_running(tmp_path / "set back"))

    monkeypatch.setattr(time, "time", lambda: now() - 3600 * len(jumps))
    record = study.run(tmp_path / "set back", engine=InProcessEngine(), on_event=look, time_limit=600).record
    assert [untimed(trial) for trial in record.trials] == [untimed(trial) for trial in plain.trials]
    assert len(jumps) == 8
    assert all(trial.seconds >= 0 and trial.seconds < 600 for trial in record.trials)
    states = [running for running in seen if running is not None]  # None: the file is not there before its first write
    assert not any(running.stale(time.time()) for running in states)


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    title, arms = "long " * 40, ["relu" + "\N{GREEK SMALL LETTER PI}" * 56, "elu" + "-x" * 28 + "!"]
    classes = ["c" * 250, "d" * 250]
    numbers = np.random.default_rng(0)
    for name in classes:
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(12):
            pixels = numbers.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}{'e' * 200}.png")
    study = Study(
        name=title,
        arms=[{"name": arms[0], "activation": "relu"}, {"name": arms[1], "activation": "elu"}],
        seeds=2,
        data={"source": str(tmp_path / "data")},
        model={"options": {"width": 2}},
        train={"epochs": 1, "batch_size": 4},
    )
    results = study.run(tmp_path / "out", engine=InProcessEngine())
    assert [trial.status for trial in results.record.trials] == ["finished"] * 4
    assert results.record.data["classes"] == classes
    results.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert title.strip() in page
    assert all(arm in page for arm in arms)
