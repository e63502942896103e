"""Requests to stop: what the driver, a worker and a training function make of them."""

import os
import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest

from slopewise.errors import FunctionError
from slopewise.events import Ended, Epoch, Started, TrialKey
from slopewise.records import TrialRecord
from slopewise.study import Study, StudySpec, Terminated, TrialContext, parse_spec
from slopewise.study.data import load_data
from slopewise.study.engines import (
    Begun,
    Engine,
    LocalEngine,
    Lost,
    Report,
    Session,
    Stopped,
    Workplace,
    attempt,
    request_stop,
    stop_on_signals,
    stop_requested,
    withdraw_stop,
)
from slopewise.testing import InProcessEngine, untimed

ROOT = Path(__file__).parents[3]
TINY = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}, "train": {"epochs": 2}, "seeds": 1}


@pytest.fixture(autouse=True)
def _nothing_requested() -> Iterator[None]:
    yield
    withdraw_stop()


class Asked(Engine, Session):
    """Begins trials at once, and ends them in the given ways when it is asked to stop; the last ones not at all."""

    def __init__(self, ends: str) -> None:
        super().__init__()
        self.ends, self.placed, self.begun, self.asked = ends, list[TrialKey](), 0, 0

    def capacity(self, spec: StudySpec) -> int:
        return 9

    @contextmanager
    def open(self, spec: StudySpec, data: object) -> Iterator[Session]:
        yield self

    def free(self, unended: int) -> int:
        return unended - len(self.placed)

    def place(self, trial: TrialKey, attempt: int) -> None:
        self.placed.append(trial)

    def give_up(self, trial: TrialKey) -> None:
        raise AssertionError

    def ask_to_stop(self) -> None:
        self.asked += 1

    def reports(self, timeout: float | None = None) -> Iterable[Report]:
        assert 0 <= timeout <= 30
        while self.begun < len(self.placed):
            self.begun += 1
            yield Begun(self.placed[self.begun - 1])
        if not self.asked:
            request_stop()
            return
        ends, self.ends = self.ends, ""
        for trial, end in zip(self.placed, ends, strict=False):
            record = TrialRecord(trial.arm, trial.seed, "finished" if end == "f" else "failed", error="SIGTERM")
            yield {"s": Stopped(trial), "l": Lost(trial, "it is gone")}.get(end) or Ended(record, None)


def test_the_driver_follows_trials_to_their_ends_and_only_what_finished_has_ended() -> None:
    engine = Asked("fsle")
    trials = [TrialKey("relu", seed) for seed in range(4)]
    events = list(engine.run(StudySpec(arms="relu", seeds=4), trials, data="none"))
    assert [event.record.seed for event in events if isinstance(event, Ended)] == [0]
    assert (engine.asked, len(engine.placed)) == (1, 4)


def test_the_driver_waits_for_the_grace_period_and_no_longer() -> None:
    engine = Asked("f")
    trials = [TrialKey("relu", seed) for seed in range(2)]
    events = list(engine.run(StudySpec(arms="relu", seeds=2), trials, data="none", grace=0.05))
    assert [event.record.seed for event in events if isinstance(event, Ended)] == [0]


def test_a_study_that_is_asked_to_stop_ends_with_status_75_and_goes_on_later(tmp_path: Path) -> None:
    study = Study(arms="relu", **{**TINY, "seeds": 2})

    def stop(event: object) -> None:
        if isinstance(event, Ended):
            request_stop()

    with pytest.raises(Terminated) as raised:
        study.run(tmp_path, engine=InProcessEngine(), on_event=stop)
    assert raised.value.code == 75
    assert not stop_requested()
    assert len(study.missing(tmp_path)) == 1
    assert len(study.run(tmp_path, engine=InProcessEngine()).record.trials) == 2


def test_an_attempt_does_not_begin_once_it_is_asked_to_stop() -> None:
    request_stop()
    spec, reports = parse_spec({**TINY, "arms": "relu"}), []
    trial = TrialKey("relu", 0)
    assert attempt(spec, trial, load_data(spec.data), reports.append) == Stopped(trial)
    assert reports == []


def test_images_in_a_workplace_are_handed_on_as_images_alone_are() -> None:
    data = load_data(parse_spec(TINY).data)
    alone, within = (len(ForkingPickler.dumps(value)) for value in (data, Workplace(Path("out"), images=data)))
    assert within < alone + 500


SIGNALLED = """
import os, pathlib, signal
import slopewise as sw
flag = pathlib.Path(__file__).with_name("signalled")

class Signalled(sw.PReLU):
    def forward(self, x):
        if self.training and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIG)
        return super().forward(x)

def signalled(channels): return Signalled()
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_worker_that_is_signalled_alone_costs_its_trial_nothing(tmp_path: Path, user_module, name: str) -> None:  # type: ignore[no-untyped-def]
    module = user_module(f"signalled_{name.lower()}", SIGNALLED.replace("SIG)", f"{name})"))
    spec = parse_spec({**TINY, "arms": [{"name": "arm", "activation": f"{module}:signalled"}]})
    trial, data = TrialKey("arm", 0), load_data(spec.data)
    events = list(LocalEngine(workers=1).run(spec, [trial], Workplace(tmp_path / "out", images=data)))
    assert [event.attempt for event in events if isinstance(event, Started)] == [1, 1]
    assert list((tmp_path / "out").rglob("*.pt"))
    record = events[-1].record
    assert (record.status, record.attempts, record.steps) == ("finished", 1, 2 * (record.steps // 2))
    whole = attempt(spec, trial, data)
    assert isinstance(whole, Ended)
    assert untimed(record) == untimed(whole.record)


def test_the_function_in_the_docs_goes_on_where_it_was_stopped(tmp_path: Path, user_module, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(ROOT / "examples/train"))
    blocks = re.findall("```python\n(.*?)```", (ROOT / "docs/train.md").read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "stop_requested" in block)
    module = user_module("resuming", code)
    fields = {"margin": 0.01, "metrics": [{"name": "accuracy", "better": "higher"}], "monitor": {"every": 7}}
    train = {"function": f"{module}:train", "options": {"epochs": 3}}
    spec = parse_spec({"arms": "prelu_channel", "seeds": 1, "train": train, **fields})
    trial = TrialKey("prelu_channel", 0)
    whole = attempt(spec, trial, Workplace(tmp_path / "whole"))
    assert isinstance(whole, Ended)
    assert whole.record.status == "finished", whole.record.error

    def stop(event: object) -> None:
        if isinstance(event, Epoch):
            request_stop()

    for _ in range(2):  # the third epoch is the last: there is nothing left to save
        assert attempt(spec, trial, Workplace(tmp_path / "cut"), stop) == Stopped(trial)
        withdraw_stop()
    cut = attempt(spec, trial, Workplace(tmp_path / "cut"))
    assert isinstance(cut, Ended)
    assert untimed(cut.record) == untimed(whole.record)
    assert {site.epoch for site in cut.record.sites} == {1, 2, 3}


def test_a_function_cannot_stop_unasked_and_a_caught_stop_is_a_stop(tmp_path: Path, user_module) -> None:  # type: ignore[no-untyped-def]
    spec = StudySpec(arms="relu")
    with pytest.raises(FunctionError, match=r"called trial.stop, although trial.stop_requested is False"):
        TrialContext(spec, "relu", 0, tmp_path).stop()
    code = (
        "def train(trial):\n    try:\n        trial.stop()\n    except BaseException:\n        return {'score': 1.0}\n"
    )
    module = user_module("catching", code)
    fields = {"margin": 0.1, "metrics": [{"name": "score", "better": "higher"}]}
    spec = parse_spec({"arms": "relu", "train": {"function": f"{module}:train"}, **fields})
    trial = TrialKey("relu", 0)
    assert attempt(spec, trial, Workplace(tmp_path / "out"), lambda _: request_stop()) == Stopped(trial)


def test_forked_children_of_a_worker_end_by_sigterm() -> None:
    """A pool of a user's code, or a data loader, must not wait for children that take the signal for a request."""
    reading, writing = os.pipe()
    worker = os.fork()
    if not worker:
        stop_on_signals()
        child = os.fork()
        if not child:
            os.write(writing, b"x")
            signal.pause()
            os._exit(0)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0 if stop_requested() and os.WTERMSIG(status) == signal.SIGTERM else 1)
    assert os.waitpid(worker, 0)[1] == 0
