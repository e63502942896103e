"""The file of a driver's state: updated, replaced as a whole, removed, and never an obstacle to the study."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import slopewise as sw
from slopewise.events import Ended, Epoch, Started, TrialKey
from slopewise.records import EpochRecord, ScoreRecord, TrialRecord
from slopewise.study import Running, RunningTrial, Store, StudySpec, origin, read_running
from slopewise.study._running import StateFile, clear

FILE = "running.json"
STALE = 20.0  # seconds: four times the pause between two writes
RELU, ELU = TrialKey("relu", 0), TrialKey("elu", 0)


def epoch(trial: TrialKey, number: int, accuracy: float) -> Epoch:
    scores = (ScoreRecord(number, "train", "accuracy", 0.3), ScoreRecord(number, "validation", "accuracy", accuracy))
    return Epoch(trial, EpochRecord(number, 10 * number, None, None), scores)


def eventually(holds, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_status_takes_a_driver_for_stalled_by_the_pace_of_its_trials(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    Store.create(tmp_path, StudySpec(arms="relu", seeds=1), {"classes": ["0", "1"]}).close()
    now = time.time()
    for epochs, state in ((60, "stalled"), (None, "running"), (2, "running")):  # 5 s, unknown, 150 s an epoch
        trial = RunningTrial("relu", 0, 1, now - 600, now - 300, epochs)
        running = Running(1, now - 600, now - 300, now, (trial,))
        assert running.usual == (None if epochs is None else 300 / epochs)
        (tmp_path / FILE).write_text(json.dumps(asdict(running)))
        assert cli("status", tmp_path).stdout.startswith(f"{state}: 0 of 1 trial\n")


def test_events_say_what_runs() -> None:
    now = Running(1, 0.0, 0.0, 0.0)
    for moment, event in enumerate((Started(RELU, 1), Started(ELU, 2), epoch(RELU, 0, 0.1)), start=1):
        now = now.after(event, float(moment))
    assert now.trials == (
        RunningTrial("elu", 0, 2, 2.0, 2.0),
        RunningTrial("relu", 0, 1, 1.0, 3.0, 0, {"accuracy": 0.1}),
    )
    now = now.after(epoch(TrialKey("silu", 0), 0, 0.1), 4.0)  # never started: an engine's fault, not ours
    now = now.after(Ended(TrialRecord("relu", 0, "finished"), None), 5.0)
    assert (now.changed, [trial.arm for trial in now.trials]) == (5.0, ["elu"])
    assert now.after(Started(ELU, 2), 6.0).trials == (RunningTrial("elu", 0, 2, 6.0, 6.0),)


def test_the_file_follows_and_goes(tmp_path: Path) -> None:
    with StateFile(tmp_path) as state:
        state.add(Started(RELU, 1))
        state.add(epoch(RELU, 3, 0.5))
        eventually(lambda: (running := read_running(tmp_path)) and running.trials and running.trials[0].epoch == 3)
        running = read_running(tmp_path)
        assert running
        assert not running.stale(time.time())
        assert running.stale(running.time + STALE + 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"trials": [{}]}', '{"pid": 1, "trials": []}', "\xff"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    assert read_running(tmp_path) is None


KILLED = """
import pathlib, sys, time
from slopewise.study._running import FILE, StateFile
folder = pathlib.Path(sys.argv[1])
with StateFile(folder):
    while not (folder / FILE).exists(): time.sleep(0.01)
    print("there", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("waited_for", [True, False])
def test_the_file_of_a_killed_driver_counts_as_none(tmp_path: Path, waited_for: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline() == "there\n"
        running = read_running(tmp_path)
        assert running
        assert running.pid == driver.pid
        driver.kill()
        if waited_for:
            driver.wait()
        eventually(lambda: read_running(tmp_path) is None)  # long before the file is stale
    assert not running.stale(time.time())


def write(folder: Path, running: Running) -> None:
    (folder / FILE).write_text(json.dumps(asdict(running)))


def test_the_age_of_the_file_decides_about_a_driver_elsewhere(tmp_path: Path) -> None:
    now, here = time.time(), origin()
    fresh = Running(2**22 + 1, now, now, now, origin=here)  # no Linux gives this number
    old = replace(fresh, time=now - STALE - 1)
    write(tmp_path, fresh)
    assert read_running(tmp_path) is None
    booted, container = replace(here, boot="another"), replace(here, space="another")
    for place in (booted, container, replace(here, host="another"), None):  # None: a file of an earlier version
        write(tmp_path, replace(fresh, origin=place))
        assert read_running(tmp_path)
        write(tmp_path, replace(old, origin=place))
        running = read_running(tmp_path)
        assert (running is None) == (place is booted)  # this machine has been booted since
        assert running is None or running.stale(now)


def test_leftovers_go_even_if_they_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(28, "No space left on device")

    for name in (FILE, f".{FILE}"):
        (tmp_path / name).write_text("left")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        clear(tmp_path)
    assert {path.read_text() for path in tmp_path.iterdir()} == {""}
    assert read_running(tmp_path) is None
    clear(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_finished_study_loses_what_its_driver_left_behind(tmp_path: Path) -> None:
    study = sw.Study(arms="relu", seeds=1)
    with closing(Store.create(tmp_path, study.spec, {"classes": ["0", "1"]})) as store:
        store.add(TrialRecord("relu", 0, "finished"), None)
    before = {path.name for path in tmp_path.iterdir()}
    now = time.time()
    write(tmp_path, Running(1, now, now, now))
    (tmp_path / f".{FILE}").write_text("{")
    assert study.run(tmp_path).record.trials
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == before


@pytest.mark.filterwarnings("default")
def test_a_file_that_cannot_be_written_is_warned_of_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / FILE / "in the way").mkdir(parents=True)
    with StateFile(tmp_path) as state:
        eventually(lambda: len(recwarn) == 1)
        state.add(Started(RELU, 1))
        eventually(lambda: not state._news)
        time.sleep(0.5)
    assert ["the study goes on" in str(warning.message) for warning in recwarn] == [True]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]  # nothing half written


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:cannot write")
def test_a_study_writes_its_state_and_goes_on_if_it_cannot(tmp_path: Path) -> None:
    study = sw.Study(
        arms="relu", seeds=1, data={"train_size": 100}, model={"options": {"width": 4}}, train={"epochs": 2}
    )
    seen: list[object] = []

    def epochs_in_file() -> list[int | None]:
        now = read_running(tmp_path / "a")
        return [trial.epoch for trial in now.trials] if now else []

    def look(event: object) -> None:
        if isinstance(event, Epoch):
            eventually(lambda: epochs_in_file() == [event.record.epoch])
            seen.append(json.loads((tmp_path / "a" / FILE).read_text())["trials"][0]["scores"]["accuracy"])

    results = study.run(tmp_path / "a", on_event=look)
    (trial,) = results.record.trials
    assert seen == list(trial.curve("validation", "accuracy").values())[1:]
    assert not (tmp_path / "a" / FILE).exists()
    (tmp_path / "b" / FILE / "in the way").mkdir(parents=True)
    (again,) = study.run(tmp_path / "b").record.trials
    assert again.scores == trial.scores
