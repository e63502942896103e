"""The driver of engines: attempts, order and ends, with sessions in this process that follow a script."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import EngineError
from slopewise.events import Ended, Started, TrialEvent, TrialKey
from slopewise.records import TrialRecord
from slopewise.study import StudySpec
from slopewise.study.engines import Begun, Engine, Lost, Report, Session

SPEC = StudySpec(arms="relu", seeds=12)
FATES = st.lists(st.sampled_from("fexl"), max_size=4).map("".join)  # finished, error, worker gone in it, or before it


class Scripted(Engine, Session):
    """Runs `slots` trials at a time; each attempt ends as the next letter of its trial says, at last as finished."""

    def __init__(self, fates: dict[int, str], slots: int = 1) -> None:
        super().__init__()
        self.fates, self.slots, self.open_ = {seed: deque(fate) for seed, fate in fates.items()}, slots, False
        self.placed: deque[TrialKey] = deque()
        self.placements: list[tuple[int, int]] = []

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
        return min(self.slots, unended) - len(self.placed)

    def place(self, trial: TrialKey, attempt: int) -> None:
        assert len(self.placed) < self.slots
        self.placed.append(trial)
        self.placements.append((trial.seed, attempt))

    def reports(self) -> Iterable[Report]:
        trial = self.placed.popleft()
        fate = self.fates[trial.seed].popleft() if self.fates.get(trial.seed) else "f"
        if fate != "l":
            yield Begun(trial)
        if fate in "xl":
            yield Lost(trial, "the moon has gone")
        else:
            status = "finished" if fate == "f" else "failed"
            yield Ended(TrialRecord(trial.arm, trial.seed, status, error="Traceback" if fate == "e" else None), None)
        yield Begun(trial)  # late news of a worker that was given up


def run(engine: Engine, count: int) -> list[TrialEvent]:
    return list(engine.run(SPEC, [TrialKey("relu", seed) for seed in range(count)], data="no images"))


@given(st.dictionaries(st.integers(0, 5), FATES), st.integers(1, 4))
def test_every_trial_ends_once_whatever_happens_to_others(fates: dict[int, str], slots: int) -> None:
    engine = Scripted(fates, slots)
    events = run(engine, 6)
    records = {event.record.seed: event.record for event in events if isinstance(event, Ended)}
    assert len(records) == sum(isinstance(event, Ended) for event in events) == 6
    for seed, record in records.items():
        attempts = (fates.get(seed, "").replace("l", "") + "ff")[:2]  # what is lost before it begins costs nothing
        assert (record.status == "finished") == ("f" in attempts)
        assert record.attempts == attempts.index("f") + 1 if "f" in attempts else 2
        starts = [event.attempt for event in events if isinstance(event, Started) and event.trial.seed == seed]
        assert starts == list(range(1, record.attempts + 1))
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
        EngineError, match=r"relu, seed 1, was lost 10 times before it began: at last, the moon has gone"
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
