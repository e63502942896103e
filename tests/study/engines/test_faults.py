"""Faults in real worker processes: each costs its own trial what the contract says, and no other trial anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slopewise.events import Ended, TrialKey
from slopewise.study import StudySpec, parse_spec
from slopewise.study.engines import LocalEngine
from slopewise.testing import untimed

pytestmark = pytest.mark.slow

LIMIT = 6.0  # seconds: more than a tiny trial takes on a busy machine

FAULTY = """
import os, pathlib, signal, torch

here = pathlib.Path(__file__).parent

def first_time(name):
    try:
        (here / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    (here / name).write_text(str(os.getpid()))
    return True

class Freezes(torch.nn.ReLU):
    def forward(self, x):
        if self.training and first_time("frozen"):
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().forward(x)

class Hungry(torch.nn.ReLU):
    def forward(self, x):
        if self.training:
            torch.empty(2**58)
        return super().forward(x)

def freezes(channels): return Freezes()
def hungry(channels): return Hungry()

class Hangs(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, index):
        if index == 40 and first_time("hung"):
            signal.pause()
        return torch.full((1, 8, 8), float(index)), index % 2

def train(trial):
    trial.seed_all()
    data = torch.utils.data.DataLoader(Hangs(), batch_size=16, num_workers=1, multiprocessing_context="fork")
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2))
    model = trial.apply(model, torch.zeros(2, 1, 8, 8))
    optimizer = torch.optim.SGD(trial.param_groups(model, lr=0.001))
    for x, y in data:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x / 64), y).backward()
        optimizer.step()
    return {"accuracy": 0.5}
"""


def tiny(arms: object, **fields: object) -> StudySpec:
    data, model = {"train_size": 100}, {"options": {"width": 4}}
    return parse_spec({"arms": arms, "seeds": 1, "data": data, "model": model, "train": {"epochs": 1}, **fields})


def ends(spec: StudySpec, trials: list[TrialKey], **options: object) -> dict[str, object]:
    events = LocalEngine(2).run(spec, trials, **options)
    return {event.record.arm: event.record for event in events if isinstance(event, Ended)}


def test_a_frozen_worker_is_killed_at_the_time_limit_and_memory_that_is_not_there_fails_its_own_trial(
    user_module: Callable[[str, str], str], tmp_path: Path, gone: Callable
) -> None:
    name = user_module("faulty", FAULTY)
    arms = [*({"name": fault, "activation": f"{name}:{fault}"} for fault in ("freezes", "hungry")), "relu"]
    spec = tiny(arms)
    records = ends(spec, [TrialKey(arm.name, 0) for arm in spec.arms], time_limit=LIMIT)
    assert {arm: (record.status, record.attempts) for arm, record in records.items()} == {
        "freezes": ("finished", 2),
        "hungry": ("failed", 2),
        "relu": ("finished", 1),
    }
    assert "allocate memory" in records["hungry"].error
    gone([int((tmp_path / "frozen").read_text())])
    # What the killed attempt has left does not show: the second one is as any other.
    assert untimed(records["freezes"]).scores == untimed(records["relu"]).scores


def test_a_data_loader_that_hangs_is_ended_with_its_processes(
    user_module: Callable[[str, str], str], tmp_path: Path, gone: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = f"{user_module('faulty', FAULTY)}:train"
    metrics = [{"name": "accuracy", "better": "higher"}]
    spec = parse_spec({"arms": "relu", "seeds": 1, "train": {"function": train}, "metrics": metrics, "margin": 0.1})
    record = ends(spec, [TrialKey("relu", 0)], time_limit=LIMIT)["relu"]
    assert (record.status, record.attempts, record.error) == ("finished", 2, None)
    loader = int((tmp_path / "hung").read_text())
    assert loader != os.getpid()
    gone([loader])
