"""Conformance kit of engines: the contract of `slopewise.study.engines`, checked by small studies with real faults."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch

from slopewise.events import Ended, Epoch, Started, TrialEvent, TrialKey
from slopewise.records import TrialRecord, untimed
from slopewise.study import StudySpec
from slopewise.study.data import ImageData, load_data
from slopewise.study.engines import Engine, attempt

_FAULTS = "slopewise.testing._faults"
_FAULTY = {"pollutes": "polluting", "raises": "raising", "exits": "exiting"}
_TINY: dict[str, Any] = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}}
_EPOCH, _ENDLESS = ({**_TINY, "train": {"epochs": epochs}} for epochs in (1, 100_000))
_LIMIT = 3.0  # seconds for a trial of the kit, which takes a tenth of that on an idle machine
_SETTLED = 1.0  # seconds in which a process that is still at work would have made many steps


def check_engine(make: Callable[[], Engine]) -> None:
    """Check that an engine keeps its contract, by studies of seconds on tiny networks.

    The checks are: records equal those of a plain loop over `attempt`, bit by bit, times aside, in a second run of the
    same engine too; trials start in order, at most `side_by_side` at a time, each once and again after a failure; each
    trial ends once, after an `Epoch` for each of its epochs; a trial that raises is tried twice and fails with its
    traceback, a trial whose process ends is tried twice and fails, and neither costs another trial anything; a trial
    that changes the global state of its process, such as the default dtype, changes no other; a trial that hangs is
    ended at its time limit; closing the events ends all that works on a trial.

    Args:
        make: Function that returns a new engine. Its workers must share a file system with this process.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> from slopewise.study.engines import LocalEngine
        >>> check_engine(lambda: LocalEngine(workers=2))  # doctest: +SKIP
    """
    engine, arms = make(), {name: f"{_FAULTS}:{fault}" for name, fault in _FAULTY.items()}
    spec = StudySpec(arms=["relu", *({"name": name, "activation": at} for name, at in arms.items())], seeds=4, **_EPOCH)
    data = load_data(spec.data)
    healthy = [TrialKey("relu", seed) for seed in range(4)]
    plan = [healthy[0], TrialKey("pollutes", 0), TrialKey("raises", 0), TrialKey("exits", 0), *healthy[1:]]
    events = list(engine.run(spec, plan, data))
    _check_order(events, plan, engine.side_by_side(spec, len(plan)))
    records = _ends(events, plan)
    _check_failures(records)
    with _threads_kept():
        ends = [attempt(spec, trial, data) for trial in healthy]
        expected = [untimed(end.record) for end in ends if isinstance(end, Ended)]
    for run in (records, _ends(list(engine.run(spec, healthy[::-1], data)), healthy)):
        for trial, record in zip(healthy, expected, strict=True):
            assert untimed(run[trial]) == record, f"the record of {trial} differs from that of attempt()"
    _check_time_limit(make(), data)
    _check_close(make(), data)


def _check_order(events: Sequence[TrialEvent], plan: Sequence[TrialKey], most: int) -> None:
    starts = [event for event in events if isinstance(event, Started)]
    first = [event.trial for event in starts if event.attempt == 1]
    assert sorted(first, key=plan.index) == list(plan), f"{len(first)} first attempts of {len(plan)} trials have begun"
    for place, trial in enumerate(first):
        assert plan.index(trial) < place + most, f"{trial} began before trials that precede it in the plan"
    again = {event.trial.arm: event.attempt for event in starts if event.attempt != 1}
    assert again == dict.fromkeys(_FAULTY, 2), f"second attempts: {again}"
    running: set[TrialKey] = set()
    for event in events:
        if isinstance(event, Started):
            running.add(event.trial)
        elif isinstance(event, Ended):
            running.discard(TrialKey(event.record.arm, event.record.seed))
        assert len(running) <= most, f"{len(running)} trials run at a time, but side_by_side is {most}"


def _ends(events: Sequence[TrialEvent], plan: Sequence[TrialKey]) -> dict[TrialKey, TrialRecord]:
    """Return the records of the trials, each of which must have ended once."""
    ends = [event.record for event in events if isinstance(event, Ended)]
    records = {TrialKey(record.arm, record.seed): record for record in ends}
    assert len(ends) == len(records) == len(plan), f"{len(ends)} ends of {len(plan)} trials"
    reported = [event.trial for event in events if isinstance(event, Epoch)]
    for trial, record in records.items():
        count = 1 if record.status == "finished" else 0
        assert reported.count(trial) == count, f"{reported.count(trial)} Epoch events of {trial}, not {count}"
    return records


def _check_failures(records: dict[TrialKey, TrialRecord]) -> None:
    for trial, record in records.items():
        outcome, expected = (record.status, record.attempts), ("finished", 1) if trial.arm == "relu" else ("failed", 2)
        assert outcome == expected, f"{trial} is {outcome} and not {expected}: {record.error}"
    raised, ended = records[TrialKey("raises", 0)].error or "", records[TrialKey("exits", 0)].error or ""
    for part in ("Traceback", "RuntimeError: raised by slopewise.testing", "in forward"):
        assert part in raised, f"the record of a trial that raised has no {part!r}: {raised!r}"
    assert ended, "the record of a trial whose process ended does not say why"


def _check_time_limit(engine: Engine, data: ImageData) -> None:
    arms = [{"name": "hangs", "activation": f"{_FAULTS}:hanging"}, "relu"]
    spec = StudySpec(arms=arms, seeds=1, **_EPOCH)
    again, ended = Started(TrialKey("hangs", 0), 2), list[str]()
    with closing(engine.run(spec, [again.trial, TrialKey("relu", 0)], data, time_limit=_LIMIT)) as events:
        for event in events:
            if event == again:
                break
            ended += [event.record.arm] if isinstance(event, Ended) else []
        else:
            raise AssertionError("a trial that hangs is not tried again after its time limit")
    assert "hangs" not in ended, "a trial that hangs has ended after its first attempt"


def _check_close(engine: Engine, data: ImageData) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arm = {"name": "writes", "activation": f"{_FAULTS}:writing", "options": {"folder": folder}}
        spec = StudySpec(arms=[arm], seeds=3, **_ENDLESS)
        with closing(engine.run(spec, [TrialKey("writes", seed) for seed in spec.seeds], data)) as events:
            while not isinstance(next(events), Epoch):
                pass
        written = _sizes(folder)
        time.sleep(_SETTLED)
        assert written, "no trial has trained"
        assert _sizes(folder) == written, "trials go on after the events have been closed"


def _sizes(folder: str) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in Path(folder).iterdir()}


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Restore the number of torch threads and the state of random generators, which trials set in this process."""
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
