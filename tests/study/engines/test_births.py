"""Workers that die before they begin a trial: when the study goes on, and when it ends."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slopewise.errors import EngineError
from slopewise.events import Ended, Started, TrialEvent
from slopewise.study import Study, load_study
from slopewise.study.engines import LocalEngine, _local
from slopewise.study.engines._process import Worker

# A worker without torch, which lives as the letter says that stands for the number of its birth.
FATES = """
import os, pathlib, signal, time
from slopewise.events import Ended
from slopewise.records import TrialRecord
from slopewise.study.engines import Begun
from slopewise.study.engines._process import READY

here = pathlib.Path(__file__).parent

def births():
    return len(list(here.glob("birth-*")))

def born():
    while True:
        number = births()
        try:
            (here / f"birth-{number}").touch(exist_ok=False)
            return number
        except FileExistsError:
            pass

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def serve(pipe, spec, data, growth):
    number, fates = born(), (here / "fates").read_text()
    fate = fates[min(number, len(fates) - 1)]
    if fate == "k": kill()
    if fate == "x": os._exit(3)
    if fate == "e": raise ImportError("the file has been edited")
    pipe.send(READY)
    done = 0
    while (trial := pipe.recv()) is not None:
        if fate == "r" or (fate == "1" and done): os._exit(4)   # between READY and the begin
        pipe.send(Begun(trial))
        if fate == "w":
            while births() < 4: time.sleep(0.01)
            time.sleep(0.3)
            kill()
        pipe.send(Ended(TrialRecord(trial.arm, trial.seed, "finished"), None))
        done += 1
"""


STUDY = Study(arms="relu", seeds=5, data={"train_size": 100}, model={"options": {"width": 4}}, train={"epochs": 1})


@pytest.fixture
def fated(
    user_module: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], None]:
    """Give the workers that are born from now on these fates; the last is that of all later ones."""
    monkeypatch.setattr(_local, "_serve", __import__(user_module("fates", FATES)).serve)

    def give(fates: str) -> None:
        for birth in tmp_path.glob("birth-*"):
            birth.unlink()
        (tmp_path / "fates").write_text(fates)

    return give


@pytest.fixture
def live(fated: Callable[[str], None]) -> Callable[..., list[TrialEvent]]:
    """Run five trials by workers with these fates."""
    events: list[TrialEvent] = []

    def run(fates: str, workers: int = 1) -> list[TrialEvent]:
        fated(fates)
        events.extend(LocalEngine(workers).run(STUDY.spec, STUDY.plan(), data="no images"))
        return events

    run.events = events
    return run


def attempts(events: list[TrialEvent]) -> list[int]:
    assert {event.record.status for event in events if isinstance(event, Ended)} == {"finished"}
    return [event.record.attempts for event in events if isinstance(event, Ended)]


@pytest.mark.parametrize(
    ("fates", "workers"),
    [
        ("x1xk1k.", 1),  # births that succeed are followed by some that fail
        ("1e1e.", 1),  # what workers import was broken for a while
        ("kkkk.", 4),  # memory is too short for four at once: they are one birth
        (".x", 2),  # only one worker can live
    ],
)
def test_births_that_fail_now_and_then_cost_nothing(live: Callable, fates: str, workers: int) -> None:
    events = live(fates, workers)
    assert attempts(events) == [1] * 5
    assert [type(event) for event in events].count(Started) == 5


@pytest.mark.parametrize(
    ("fates", "message"),
    [
        ("1x", "no worker process lives until it begins a trial: the last one exited with status 3$"),
        ("1k", "was killed by signal 9; if nobody killed it, memory may have run out: try fewer workers$"),
        ("1r", "exited with status 4$"),  # it could take trials, and began none
        ("1e", "exited with status 1; its own words are above.*main"),
    ],
)
def test_births_that_fail_in_a_row_end_the_study(live: Callable, fates: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        live(fates)
    assert attempts(live.events) == [1]  # what had ended was told


def test_an_exception_at_the_first_birth_ends_the_study_at_once(live: Callable, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="exited with status 1"):
        live("e")
    assert len(list(tmp_path.glob("birth-*"))) == 1


def test_a_trial_whose_worker_dies_between_ready_and_begin_is_not_charged(live: Callable) -> None:
    events = live("rr.")
    assert attempts(events) == [1] * 5
    assert [event.attempt for event in events if isinstance(event, Started)] == [1] * 5


def test_births_that_failed_beside_a_worker_do_not_count_once_it_has_died(live: Callable) -> None:
    events = live("wxxx.", workers=2)  # three births fail while the first worker is at work, then that dies
    assert sorted(attempts(events)) == [1, 1, 1, 1, 2]


def test_births_beside_a_worker_are_not_tried_without_end(live: Callable, tmp_path: Path) -> None:
    live(".x", workers=3)
    assert len(list(tmp_path.glob("birth-*"))) <= 1 + 2 * 3 * 5  # three at each begin and each end of a trial


def test_a_system_that_gives_no_process_for_a_moment(live: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    start, refusals = Worker.start, [OSError(12, "Cannot allocate memory")] * 2

    def refuse(*arguments: object, **keywords: object) -> Worker:
        if refusals:
            raise refusals.pop()
        return start(*arguments, **keywords)

    monkeypatch.setattr(Worker, "start", refuse)
    assert attempts(live(".")) == [1] * 5
    refusals.extend([OSError(11, "Resource temporarily unavailable")] * 9)
    with pytest.raises(EngineError, match="the last one could not be started: Resource temporarily unavailable"):
        live(".")


@pytest.mark.slow
def test_a_study_that_births_have_ended_keeps_its_trials_and_goes_on(fated: Callable, tmp_path: Path) -> None:
    fated("1x")
    with pytest.raises(EngineError, match="exited with status 3"):
        STUDY.run(tmp_path / "out", workers=1)
    assert len(load_study(tmp_path / "out").record.trials) == 1
    assert not (tmp_path / "out" / "running.json").exists()
    fated("x1x.")
    assert len(STUDY.run(tmp_path / "out", workers=1).record.trials) == 5
