"""Workers of a study keep the memory that they free, unless the study is told not to."""

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from slopewise.machine import memory_is_kept
from slopewise.study import Study
from slopewise.testing import InProcessEngine

FUNCTION = """
import torch
from slopewise.machine import memory_is_kept

def train(trial):
    trial.seed_all()
    x = torch.zeros(1, 2)
    network = trial.apply(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), x)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(x + 1).sum().backward()
    optimizer.step()
    return {"score": float(memory_is_kept())}
"""


@pytest.fixture
def study(user_module: Callable[[str, str], str]) -> Study:
    name = user_module("remembers", FUNCTION)
    metric = {"name": "score", "better": "higher"}
    return Study(arms="relu", seeds=1, train={"function": f"{name}:train"}, metrics=[metric], margin=0.1)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
@pytest.mark.parametrize("keep_memory", [True, False])
def test_workers_keep_memory_as_the_study_says(study: Study, tmp_path: Path, keep_memory: bool) -> None:
    (trial,) = study.run(tmp_path / "out", workers=1, keep_memory=keep_memory).record.trials
    assert trial.score("test", "score") == float(keep_memory)


def test_trials_in_the_process_of_the_caller_leave_its_allocator_alone(study: Study, tmp_path: Path) -> None:
    before = memory_is_kept()
    study.run(tmp_path / "out", engine=InProcessEngine())
    assert memory_is_kept() == before
