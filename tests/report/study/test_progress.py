"""Progress of a running study, on a terminal and elsewhere."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from slopewise.events import Ended, Epoch, Event, Look, Prepared, Reading, Started, TrialKey, Tuned
from slopewise.records import EpochRecord, ScoreRecord, TrialRecord
from slopewise.report import StudyProgress
from slopewise.study import StudySpec

TRIALS = tuple(TrialKey(arm, seed) for seed in range(3) for arm in ("relu", "[red]odd"))
FACTS = {"name": "two", "shape": [1, 8, 8], "classes": ["0", "1"], "train_and_validation_images": 9, "test_images": 9}
AUGMENTATION = {"shift": 1, "flip": False, "erase": 0.0}
SPEC = StudySpec().model_dump(mode="json")
PREPARED = Prepared(FACTS, SPEC, AUGMENTATION, trials=len(TRIALS), side_by_side=1)
ADAPTIVE = Prepared(
    FACTS, SPEC | {"until_decided": {"looks": [1, 2, 3]}}, AUGMENTATION, trials=len(TRIALS), side_by_side=1
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def epoch(trial: TrialKey, accuracy: float) -> Epoch:
    return Epoch(trial, EpochRecord(1, 5, 0.1, None), (ScoreRecord(1, "validation", "accuracy", accuracy),))


def ended(trial: TrialKey, **fields: object) -> Ended:
    return Ended(TrialRecord(trial.arm, trial.seed, **{"status": "finished", **fields}), None)  # type: ignore[arg-type]


@pytest.fixture
def lines() -> Callable[..., list[str]]:
    """Send (seconds, event) pairs to a display without a terminal, and return the lines that it prints."""

    def play(*steps: tuple[float, Event], prepared: Prepared = PREPARED) -> list[str]:
        stream, clock = io.StringIO(), Clock()
        with StudyProgress(TRIALS, Console(file=stream, width=80), clock) as progress:
            progress(prepared)
            shown = len(stream.getvalue().splitlines())
            for seconds, event in steps:
                clock.now = 100.0 + seconds
                progress(event)
        return stream.getvalue().splitlines()[shown:]

    return play


def test_plain_lines_come_now_and_then_with_rate_and_time_left(lines: Callable[..., list[str]]) -> None:
    first, second = TRIALS[:2]
    printed = lines(
        (60, Started(first, 1)),  # the workers' own start does not count
        (60, Started(second, 1)),
        (61, epoch(first, 0.5)),
        (62, ended(first)),
        (80, ended(second, diverged_step=3)),
        (81, epoch(second, 0.7)),
    )
    assert printed == [
        "0/6 trials done, 1 running, 0 failed",
        "2/6 trials done, 0 running, 0 failed, 1 diverged; 6.0 trials/min, 0:40 left; "
        "validation accuracy so far: relu 50.0 %",
    ]


def test_a_look_says_what_it_decided_and_strikes_off_what_it_makes_needless(lines: Callable[..., list[str]]) -> None:
    relu, odd = TRIALS[:2]
    printed = lines(
        (1, Started(relu, 1)),
        (2, Started(odd, 1)),
        (11, ended(relu)),
        (12, ended(odd)),
        (12, Look(1, (), ("[red]odd",), 2)),
        (13, Started(TRIALS[2], 1)),
        (23, ended(TRIALS[2])),
        (24, Look(2, (("[red]odd", "helps"),), (), None)),
        prepared=ADAPTIVE,
    )
    assert printed == [
        "1 of at most 6 trials done, 1 running, 0 failed; 6.0 trials/min, at most 0:50 left",
        "look after 1 seed: nothing is decided yet; 1 arm goes on to 2 seeds: [red]odd",
        "3 of at most 6 trials done, 0 running, 0 failed; 8.2 trials/min, at most 0:22 left",
        "look after 2 seeds: [red]odd helps; every arm is decided",
        "3/3 trials done, 0 running, 0 failed; 7.8 trials/min, 0:00 left",
    ]


def test_a_terminal_prints_a_look_as_it_happens_and_plans_fewer_trials() -> None:
    stream, shown = io.StringIO(), io.StringIO()
    with StudyProgress(TRIALS, Console(file=stream, width=100, force_terminal=True, color_system=None)) as progress:
        progress(ADAPTIVE)
        for trial in TRIALS[:2]:
            progress(Started(trial, 1))
            progress(ended(trial))
        progress(Look(1, (("[red]odd", "no practical effect"),), (), None))
        Console(file=shown, width=100).print(progress._draw())
    assert "look after 1 seed: [red]odd has no practical effect; every arm is decided" in stream.getvalue()
    rows = {line.split()[0]: line.split()[1] for line in shown.getvalue().splitlines() if line.strip()}
    assert rows["relu"] == rows["[red]odd"] == "1/1"


def test_a_look_strikes_no_trial_off_that_runs_under_other_settings() -> None:
    stream, cell = io.StringIO(), TrialKey("[red]odd", 0, "train.lr = 0.1")
    with StudyProgress((*TRIALS, cell), Console(file=stream, width=100)) as progress:
        progress(ADAPTIVE)
        progress(Tuned((("relu", 0.1), ("[red]odd", 0.0562))))
        for trial in TRIALS[:2]:
            progress(Started(trial, 1))
            progress(ended(trial))
        progress(Look(1, (("[red]odd", "hurts"),), (), None))
        assert progress.total == 3
        progress(Started(cell, 1))
        progress(epoch(cell, 0.9))
        progress(ended(cell, cell=cell.cell, status="failed", error="ValueError: moon"))
        progress(Started(TrialKey("relu", 1_000_000, "train.lr = 1.0"), 1))  # of a range that was widened
        assert progress.total == 4
    assert progress.latest == {}
    lines = stream.getvalue().splitlines()
    assert "tuned learning rates: relu 0.1, [red]odd 0.0562" in lines
    assert "[red]odd, seed 0, train.lr = 0.1: failed, recorded (ValueError: moon)" in lines
    assert lines[-1].startswith("3/3 trials done, 0 running")


def test_failures_and_second_attempts_are_reported_at_once(lines: Callable[..., list[str]]) -> None:
    odd = TRIALS[1]
    printed = lines(
        (1, Started(odd, 1)),
        (2, Started(odd, 2)),
        (3, ended(odd, status="failed", attempts=2, error="Traceback\nValueError: moon\n")),
    )
    assert printed == [
        "[red]odd, seed 0: failed, tried once more",
        "[red]odd, seed 0: failed twice, recorded (ValueError: moon)",
    ]


def test_the_last_trial_always_gives_a_line(lines: Callable[..., list[str]]) -> None:
    printed = lines(*((k / 10, ended(trial)) for k, trial in enumerate(TRIALS)))
    assert printed[-1].startswith("6/6 trials done, 0 running, 0 failed")


def test_a_terminal_says_what_goes_on_before_the_first_trial_has_ended() -> None:
    stages = []
    with StudyProgress(TRIALS, Console(file=io.StringIO(), force_terminal=True)) as progress:
        for event in (None, PREPARED, Started(TRIALS[0], 1), epoch(TRIALS[0], 0.5), ended(TRIALS[0])):
            if event:
                progress(event)
            shown = io.StringIO()
            Console(file=shown, width=100).print(progress._draw())
            stages.append(shown.getvalue().splitlines()[0])
    assert stages[:4] == [
        "reading the data, rehearsing every arm",
        "starting workers, which load PyTorch and the data",
        "the first trials train",
        "the first trials train, 1 epoch so far",
    ]
    assert stages[4].startswith("trials ")


def test_a_terminal_shows_every_arm() -> None:
    shown = io.StringIO()
    with StudyProgress(TRIALS, Console(file=io.StringIO(), force_terminal=True)) as progress:
        progress(PREPARED)
        progress(Started(TRIALS[0], 1))
        progress(epoch(TRIALS[0], 0.875))
        progress(ended(TRIALS[0]))
        progress(Started(TRIALS[1], 1))
        Console(file=shown, width=100).print(progress._draw())
    rows = {line.split()[0]: line.split()[1:] for line in shown.getvalue().splitlines() if line.strip()}
    assert rows["relu"] == ["1/3", "·", "·", "·", "87.5", "%"]
    assert rows["[red]odd"] == ["0/3", "1", "·", "·"]


NAME = "[red]\x1b]0;t\x07\x1b[38;5;201m\n\u202e"
SHOWN = "[red]\\x1b]0;t\\x07\\x1b[38;5;201m\\n\\u202e"


@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_shown_printable_and_as_no_markup(terminal: bool) -> None:
    trial, stream, clock = TrialKey(NAME, 0), io.StringIO(), Clock()
    console = Console(file=stream, width=200, force_terminal=terminal, color_system=None)
    with StudyProgress((trial,), console, clock) as progress:
        clock.now += 60
        progress(Reading(NAME, 1, 2))
        if terminal:
            progress._live.refresh()
        for event in (Started(trial, 2), epoch(trial, 0.5), ended(trial, status="failed", error=f"Traceback\n{NAME}")):
            clock.now += 60
            progress(event)
    text = stream.getvalue()
    assert text.count(SHOWN) >= 3
    assert f"reading {SHOWN}" in text
    assert not {"\x07", "\u202e"} & set(text)
    assert "\x1b]" not in text
    assert "201m" not in text.replace(SHOWN, "")
