"""A full disk: the study stops with an error that names it, loses nothing, and goes on once there is room."""

import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from slopewise.errors import SlopewiseWarning, StoreError
from slopewise.events import Ended
from slopewise.study import Study, read_counts, read_study
from slopewise.testing import InProcessEngine, untimed

TINY = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}, "train": {"epochs": 1}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted here by nobody, or by root alone")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room for another byte."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def test_a_full_disk_stops_a_study_that_then_goes_on(small_disk: Path, tmp_path: Path) -> None:
    study, ends = Study(arms="relu,prelu_shared", seeds=3, **TINY), []

    def fill_after_two(event: object) -> None:
        if isinstance(event, Ended):
            ends.append(event.record)
            if len(ends) == 2:
                fill(small_disk / "filler")

    folder = small_disk / "study"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", SlopewiseWarning
        )  # of running.json, which can be written no more than the store
        with pytest.raises(StoreError, match=r"the disk of '.*study\.db' is full: make room there; the same command"):
            study.run(folder, engine=InProcessEngine(), on_event=fill_after_two)
        stored = read_counts(folder).ended
        assert stored >= 2
        kept = {(trial.arm, trial.seed): trial for trial in read_study(folder).trials}
        assert all(kept[trial.arm, trial.seed] == trial for trial in ends[:stored])
        with pytest.raises(StoreError, match="is full"):
            study.run(folder, engine=InProcessEngine())
    (small_disk / "filler").unlink()
    record = study.run(folder, engine=InProcessEngine()).record
    expected = study.run(tmp_path / "roomy", engine=InProcessEngine()).record
    assert [untimed(trial) for trial in record.trials] == [untimed(trial) for trial in expected.trials]
    assert all(kept[trial.arm, trial.seed] == trial for trial in record.trials if (trial.arm, trial.seed) in kept)
    assert not record.damaged
