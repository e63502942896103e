"""Conformance kit of stores: the contract of `slopewise.study.Store`, checked with drivers in real processes."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from typing import Any

from slopewise.errors import StoreError
from slopewise.events import TrialKey
from slopewise.records import EpochRecord, RepeatRecord, ScoreRecord, StudyRecord, TrialRecord
from slopewise.study import Store, StoredPlan, StudySpec, holds_study, last_change, read_counts, read_study
from slopewise.study.engines import Claim
from slopewise.testing._records import synthetic_study

_ARMS, _SEEDS = ("relu", "prelu_shared"), 8
_SPEC = StudySpec(arms=",".join(_ARMS), seeds=_SEEDS)
_LEASE = 0.4  # seconds, of claims that are to expire
_NUMBERS = (0.1, -0.0, math.inf, -math.inf, 5e-324, sys.float_info.max, math.pi)


def check_store(place: Callable[[], str | os.PathLike[str]]) -> None:
    """Check that a kind of store keeps its contract.

    The checks are: records come back bit by bit; what a broken write would leave is not there; the first finished
    record of a trial stays, a second one is compared and counted once, and a failed one is replaced; plans, and specs
    that gain arms and seeds, are kept, and other studies and data refused; claims hold while they are renewed, expire
    otherwise, and are then taken over with a higher fence; two processes that write the same trials at once store each
    once; and a process that is killed in the middle of writing leaves whole trials.

    The processes are spawned: a script calls this function below `if __name__ == "__main__":`.

    Args:
        place: Function that returns the folder or the URL of a new, empty store each time that it is called.

    Raises:
        AssertionError: The contract is broken; the message says where.

    Example:
        >>> import tempfile
        >>> check_store(tempfile.mkdtemp)  # doctest: +SKIP
    """
    study = synthetic_study(_ARMS, _SEEDS, epochs=2, diverged={"prelu_shared": 1})
    _check_round_trip(place(), study)
    _check_repeats(place(), study)
    _check_specs(place(), study)
    _check_claims(place(), study)
    _check_processes(place(), study)


def _check_round_trip(place: str | os.PathLike[str], study: StudyRecord) -> None:
    assert not holds_study(place), "a new place holds a study"
    scores = tuple(ScoreRecord(number, "test", "loss", value) for number, value in enumerate(_NUMBERS))
    odd = TrialRecord(
        "relu", 1, "finished", error="\0 \N{SNOWMAN} '\"%s:name \n" + "long " * 10_000, scores=scores,
        epochs=(EpochRecord(0, 2**40, 0.05, None),), environment="e",
    )  # fmt: skip
    written = [odd, *(trial for trial in study.trials if (trial.arm, trial.seed) != ("relu", 1))]
    states = set()
    with closing(Store.create(place, _SPEC, study.data)) as store:
        try:
            store.add(replace(written[1], environment="broken"), {"cpu": object()})
        except TypeError:
            assert not store.read().trials, "a write that failed has left a part"
        else:
            raise AssertionError("an environment that is no plain data was written")
        for trial in written:
            store.add(trial, study.environments["synthetic"])
            states.add(last_change(place))
        assert len(states) == len(written), "last_change does not change with every commit"
    record = read_study(place)
    assert not record.damaged, f"damaged: {record.damaged}"
    read = {(trial.arm, trial.seed): trial for trial in record.trials}
    for trial in written:
        assert repr(read[trial.arm, trial.seed]) == repr(trial), f"{trial.arm} seed {trial.seed} came back differently"
    assert record.environments == dict.fromkeys(("e", "synthetic"), study.environments["synthetic"])
    counts = read_counts(place)
    assert (counts.ended, counts.planned) == (len(written), len(written)), f"counts are {counts}"
    assert sum(arm.diverged for arm in counts.arms) == sum(trial.diverged for trial in written)


def _check_repeats(place: str | os.PathLike[str], study: StudyRecord) -> None:
    first = replace(study.trials[0], identity="i", environment=None)
    failed = TrialRecord(first.arm, first.seed, "failed", error="first")
    slower = replace(first, seconds=7.0, attempts=2)
    other = replace(first, seconds=8.0, steps=first.steps + 1)
    elsewhere = replace(other, seconds=9.0, identity="j")
    with closing(Store.create(place, _SPEC, study.data)) as store:
        for trial in (failed, first, first, failed, slower, slower, other, elsewhere):
            store.add(trial, None)
        read = store.read()
    assert [repr(trial) for trial in read.trials] == [repr(first)], "the first finished record has not stayed"
    expected = [(True, True), (False, True), (False, False)]
    assert read.repeats == tuple(
        RepeatRecord(first.arm, first.seed, "", equal=equal, same_identity=same) for equal, same in expected
    ), f"repeats are {read.repeats}"


def _check_specs(place: str | os.PathLike[str], study: StudyRecord) -> None:
    cell = {"key": "train.lr = 0.5", "settings": {"train.lr": 0.5}, "roles": ["map"], "arms": ["relu"], "seeds": [0]}
    plan = StoredPlan({"relu": _SEEDS + 1, "prelu_shared": _SEEDS}, 2 * _SEEDS + 1, (cell,))
    with closing(Store.create(place, _SPEC, study.data)) as store:
        store.set_plan(plan)
        assert [record.key for record in store.read().cells] == [cell["key"]], "a plan is not what was stored"
        assert read_counts(place).planned == 2 * _SEEDS + 1
    more = StudySpec(arms="relu,elu,prelu_shared", seeds=_SEEDS + 1)
    with closing(Store.create(place, more, study.data)) as store:
        assert set(store.read().arms) == {*_ARMS, "elu"}, "an arm that was added is not there"
        shared = store.shared
    fewer = StudySpec(arms="relu,silu", seeds=_SEEDS + 1)
    if shared:
        Store.create(place, fewer, study.data).close()
        assert set(read_study(place).arms) == {*_ARMS, "elu", "silu"}, "drivers that share a store add to its arms"
        more = fewer
    else:
        _refused(lambda: Store.create(place, fewer, study.data), "a spec without stored arms")
    _refused(lambda: Store.create(place, more, {**study.data, "digest": "other"}), "other data")
    changed = StudySpec(arms="relu,elu,prelu_shared", seeds=_SEEDS + 1, train={"epochs": 3})
    _refused(lambda: Store.create(place, changed, study.data), "other settings")


def _check_claims(place: str | os.PathLike[str], study: StudyRecord) -> None:
    ended, failed, held, lost = (TrialKey("relu", seed) for seed in range(4))
    first, late = (replace(study.trials[seed], environment=None) for seed in (0, 3))
    with ExitStack() as stack:
        one, two = (stack.enter_context(closing(Store.create(place, _SPEC, study.data))) for _ in range(2))
        one.add(first, None)
        one.add(TrialRecord("relu", 1, "failed", error="e"), None)
        assert [one.claim(ended), one.claim(failed)] == [Claim.STORED] * 2, "stored trials can be claimed"
        assert [one.claim(failed, again=True), two.claim(failed, again=True)] == [Claim.OURS, Claim.THEIRS]
        assert [one.claim(held), two.claim(held), one.claim(held)] == [Claim.OURS, Claim.THEIRS, Claim.OURS]
        assert {(claim.trial, claim.fence) for claim in two.claims()} == {(failed, 1), (held, 1)}
        with closing(Store.create(place, _SPEC, study.data, lease=_LEASE)) as brief:
            assert brief.claim(lost) is Claim.OURS
            time.sleep(3 * _LEASE)
            assert two.claim(lost) is Claim.THEIRS, "a claim that is renewed has expired"
            brief.freeze()
            time.sleep(1.5 * _LEASE)
            assert two.claim(lost) is Claim.OURS, "a claim that was not renewed has not expired"
            assert next(claim.fence for claim in two.claims() if claim.trial == lost) == 2, "the fence has not risen"
            assert brief.claim(lost) is Claim.THEIRS, "a claim that was taken over is held by two drivers"
            brief.add(late, None)
            two.add(replace(late, seconds=1.0), None)
            assert [repeat.equal for repeat in two.read().repeats] == [True], "the late record was not compared"
        one.close()
        assert two.claim(held) is Claim.OURS, "closing a store does not withdraw its claims"


def _check_processes(place: str | os.PathLike[str], study: StudyRecord) -> None:
    Store.create(place, _SPEC, study.data).close()
    drivers = [_driver(place, study, number) for number in (1, 2, 3)]
    while read_counts(place).ended < 3:
        assert any(driver.is_alive() for driver in drivers), "drivers write nothing"
        time.sleep(0.01)
    drivers[2].kill()
    for driver in drivers:
        driver.join()
    assert [driver.exitcode for driver in drivers[:2]] == [0, 0], "drivers that write at once fail"
    record = read_study(place)
    assert not record.damaged, f"a driver that was killed has left damage: {record.damaged}"
    assert len(record.trials) == len(study.trials), "trials are missing"
    assert len(record.repeats) >= len(study.trials), "the second records of trials are not counted"
    assert all(repeat.equal for repeat in record.repeats)


def _driver(place: str | os.PathLike[str], study: StudyRecord, number: int) -> SpawnProcess:
    """Start a process that writes every trial, with the number as its time."""
    trials = [replace(trial, seconds=float(number)) for trial in study.trials]
    arguments = os.fspath(place), trials, study.environments["synthetic"]
    driver = get_context("spawn").Process(target=_write, args=arguments)
    driver.start()
    return driver


def _write(place: str, trials: Sequence[TrialRecord], environment: dict[str, Any]) -> None:
    with closing(Store.open(place)) as store:
        for trial in trials:
            store.add(trial, environment)


def _refused(create: Callable[[], Any], what: str) -> None:
    try:
        create()
    except StoreError:
        return
    raise AssertionError(f"{what} was accepted")
