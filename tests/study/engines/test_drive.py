"""The driver of engines: attempts, order and ends, with sessions in this process that follow a script."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import EngineError
from slopewise.events import Ended, Started, TrialEvent, TrialKey
from slopewise.records import TrialRecord
from slopewise.study import StudySpec
from slopewise.study.engines import Begun, Claim, Engine, Lost, Report, Session

SPEC = StudySpec(arms="relu", seeds=12)
# Finished, error, worker gone in it, before it, or with its whole node.
FATES = st.lists(st.sampled_from("fexln"), max_size=4).map("".join)


class Scripted(Engine, Session):
    """Runs `slots` trials at a time; each attempt ends as the next letter of its trial says, at last as finished."""

    def __init__(self, fates: dict[int, str], slots: int = 1) -> None:
        super().__init__()
        self.fates, self.slots, self.open_ = {seed: deque(fate) for seed, fate in fates.items()}, slots, False
        self.placed: deque[TrialKey] = deque()
        self.placements: list[tuple[int, int]] = []
        self.hung: set[TrialKey] = set()
        self.given_up: list[int] = []

    def capacity(self, spec: StudySpec) -> int:
        return self.slots

    @contextmanager
    def open(self, spec: StudySpec, data: object) -> Iterator[Session]:
        self.open_ = True
        try:
            yield self
        finally:
            self.open_ = False

    def free(self, unended: int) -> int:
        return min(self.slots, unended) - len(self.placed) - len(self.hung)

    def place(self, trial: TrialKey, attempt: int) -> None:
        assert len(self.placed) + len(self.hung) < self.slots
        self.placed.append(trial)
        self.placements.append((trial.seed, attempt))

    def give_up(self, trial: TrialKey) -> None:
        self.given_up.append(trial.seed)
        self.hung.discard(trial)

    def reports(self, timeout: float | None = None) -> Iterable[Report]:
        if not self.placed:
            time.sleep(timeout)
            return
        trial = self.placed.popleft()
        fate = self.fates[trial.seed].popleft() if self.fates.get(trial.seed) else "f"
        if fate != "l":
            yield Begun(trial)
        if fate == "h":  # it hangs
            self.hung.add(trial)
        elif fate in "xln":
            yield Lost(trial, "the moon has gone", blameless=fate == "n")
        else:
            status = "finished" if fate == "f" else "failed"
            yield Ended(TrialRecord(trial.arm, trial.seed, status, error="Traceback" if fate == "e" else None), None)
        yield Begun(trial)  # late news of a worker that was given up


def run(engine: Engine, count: int, **options: Any) -> list[TrialEvent]:
    return list(engine.run(SPEC, [TrialKey("relu", seed) for seed in range(count)], data="no images", **options))


def starts_lost(fates: str) -> int:
    """Return how often a trial with these fates begins on a node that goes, before it ends."""
    attempts = 0
    for place, fate in enumerate(fates):
        attempts += fate in "fex"
        if fate == "f" or attempts == 2:
            return fates[:place].count("n")
    return fates.count("n")


@given(st.dictionaries(st.integers(0, 5), FATES), st.integers(1, 4))
def test_every_trial_ends_once_whatever_happens_to_others(fates: dict[int, str], slots: int) -> None:
    engine = Scripted(fates, slots)
    events = run(engine, 6)
    records = {event.record.seed: event.record for event in events if isinstance(event, Ended)}
    assert len(records) == sum(isinstance(event, Ended) for event in events) == 6
    for seed, record in records.items():
        # What is lost before it begins, or with its node, costs nothing.
        attempts = (fates.get(seed, "").replace("l", "").replace("n", "") + "ff")[:2]
        assert (record.status == "finished") == ("f" in attempts)
        assert record.attempts == attempts.index("f") + 1 if "f" in attempts else 2
        starts = [event.attempt for event in events if isinstance(event, Started) and event.trial.seed == seed]
        assert sorted({*starts}) == list(range(1, record.attempts + 1))
        assert len(starts) == record.attempts + starts_lost(fates.get(seed, ""))
    assert not engine.open_


def test_trials_start_in_order_and_retries_do_not_wait_for_others() -> None:
    engine = Scripted({1: "xf", 2: "lef"})
    run(engine, 4)
    assert engine.placements == [(0, 1), (1, 1), (1, 2), (2, 1), (2, 1), (2, 2), (3, 1)]


def test_the_record_of_a_lost_trial_says_how_it_ended() -> None:
    failed = run(Scripted({0: "xx"}), 1)[-1]
    assert (failed.record.status, failed.record.error) == ("failed", "the moon has gone during this trial")


def test_an_engine_on_which_nothing_begins_is_given_up() -> None:
    engine = Scripted({1: "l" * 99})
    with pytest.raises(
        EngineError, match=r"relu, seed 1, was lost 10 times without a fault of its own: at last, the moon has gone"
    ):
        run(engine, 2)
    assert not engine.open_


def test_closing_the_generator_closes_the_session() -> None:
    engine = Scripted({})
    events = engine.run(SPEC, [TrialKey("relu", 0)], data="no images")
    next(events)
    assert engine.open_
    events.close()
    assert not engine.open_


def test_a_trial_that_exceeds_its_time_limit_is_given_up_and_fails_the_second_time() -> None:
    engine = Scripted({0: "hh", 1: "hf"}, slots=2)
    records = {event.record.seed: event.record for event in run(engine, 3, time_limit=0.01) if isinstance(event, Ended)}
    assert sorted(engine.given_up) == [0, 0, 1]
    assert {seed: (record.status, record.attempts) for seed, record in records.items()} == {
        0: ("failed", 2),
        1: ("finished", 2),
        2: ("finished", 1),
    }
    assert records[0].error == "the time limit of 0.01 s was exceeded during this trial"


def test_trials_of_another_driver_are_asked_for_again_and_not_run_once_they_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("slopewise.study.engines._drive._ASK_AGAIN", 0.01)
    answers = {0: [Claim.THEIRS, Claim.THEIRS, Claim.STORED], 1: [Claim.OURS, Claim.OURS], 2: [Claim.STORED]}
    answers[3] = [Claim.THEIRS, Claim.OURS]
    asked: list[int] = []

    def claim(trial: TrialKey) -> Claim:
        asked.append(trial.seed)
        return answers[trial.seed].pop(0)

    engine = Scripted({1: "ef"})
    ended = [event.record.seed for event in run(engine, 4, claim=claim) if isinstance(event, Ended)]
    assert ended == [1, 3]
    assert engine.placements == [(1, 1), (1, 2), (3, 1)]
    assert not any(answers.values())
    assert asked.count(0) == 3


def test_a_stage_whose_trials_another_driver_has_stored_is_followed_by_the_next() -> None:
    stages = [[TrialKey("relu", 1)], []]
    engine = Scripted({})
    events = engine.run(
        SPEC,
        [TrialKey("relu", 0)],
        data="no images",
        more=lambda: stages.pop(0),
        claim=lambda trial: Claim.STORED if trial.seed == 0 else Claim.OURS,
    )
    assert [event.record.seed for event in events if isinstance(event, Ended)] == [1]
    assert stages == []
