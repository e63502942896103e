"""Trials on several devices: two processes on the CPU against one, and what happens when one of them fails."""

import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from slopewise.errors import ModelError
from slopewise.records import TrialRecord
from slopewise.study import StudySpec, parse_spec, preflight, run_trial
from slopewise.study._trial._ranks import RankError, RankLost, on_ranks
from slopewise.study._trial._sharding import blocks
from slopewise.study.data import ImageData, load_data
from slopewise.testing import untimed

pytestmark = pytest.mark.slow

# What users write, and functions for the ranks, which import them by name.
MODULE = """
import os, pathlib, signal, sys, time
import torch
import slopewise as sw
from slopewise.study._trial._run import _run_rank

def second(): return os.environ["LOCAL_RANK"] == "1"

class Tied(torch.nn.Module):  # one slope for all of the network, and parameters without a gradient
    def __init__(self, activation, classes, channels):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 3), act := activation(4), torch.nn.Conv2d(4, 4, 3))
        self.act, self.head, self.unused = act, torch.nn.Linear(4, classes), torch.nn.Linear(2, 2)
    def forward(self, x):
        return self.head(self.act(self.body(x)).mean((2, 3)))

def tied(activation, num_classes, in_channels): return Tied(activation, num_classes, in_channels)

class NanOnOne(torch.nn.ReLU):
    steps = 0
    def forward(self, x):
        if self.training and second():
            self.steps += 1
            if self.steps == 2: return x * float("nan")
        return super().forward(x)

class Fatal(torch.nn.ReLU):
    def forward(self, x):
        if self.training and second(): os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

class Number(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(0.25))
    def forward(self, x):
        return torch.where(x > 0, x, self.slope * x)

def number(channels): return Number()
def nan_on_one(channels): return NanOnOne()
def fatal(channels): return Fatal()

def runs(report, runs, data):
    return [_run_rank(report, spec, arm, 0, data, compare=True, weights=None) for spec, arm in runs]

def zeros(report, size): return bytes(size)

def note(folder):
    (pathlib.Path(folder) / f"pid-{os.getpid()}").touch()

def waits(report, folder):
    note(folder)
    time.sleep(600)

def raises(report, folder):
    note(folder)
    if second(): raise KeyError("not there")
    time.sleep(600)

"""

PRELU = {"activation": "prelu_channel"}
ARMS = [
    "relu",
    {"name": "channel", **PRELU},
    {"name": "custom", **PRELU, "options": {"init": -0.4}, "slope_lr_scale": 3.0, "slope_weight_decay": 0.1},
    {"name": "bounded", **PRELU, "options": {"init": 0.001, "bounds": [0.0, 0.26]}, "slope_lr_scale": 30.0},
    {"name": "sum", "activation": "prelu_shared", "shared_gradient": "sum"},
    {"name": "mean", "activation": "prelu_shared", "shared_gradient": "mean"},
    {"name": "on", "activation": "prelu_channel", "start": {"arm": "channel", "take": "weights"}},
]
TINY = {
    "arms": ARMS,
    "seeds": 1,
    "data": {"train_size": 100},
    "model": {"options": {"width": 4, "depth": 3}},
    "train": {"epochs": 2, "batch_size": 40},
    "hardware": {"precision": "64-true"},
    "monitor": {"every": 1},
}
INFORMED = {"monitor": {"every": 1, "information": True}}
SHORT = {"train": {**TINY["train"], "epochs": 1}}
NORM = {"model": {"options": {"width": 4, "depth": 3, "batch_norm": True}}, **SHORT}
ADAM = {"train": {**SHORT["train"], "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1}}
BF16 = {"hardware": {"precision": "bf16-mixed"}, **SHORT}


def tiny(strategy: str | None = None, **tables: object) -> StudySpec:
    fields = {**TINY, **tables}
    if strategy:
        fields["hardware"] = {**fields["hardware"], "devices": 2, "strategy": strategy}
    return parse_spec(fields)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(tiny().data)


@pytest.fixture(scope="module", autouse=True)
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    folder = tmp_path_factory.mktemp("user")
    (folder / "rank_functions.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("rank_functions")
    sys.path.remove(str(folder))
    del sys.modules["rank_functions"]


# By name: the tables of the spec, and the arm.
SAME = {
    **{arm: ({}, arm) for arm in ("relu", "bounded", "mean")},
    **{arm: (SHORT, arm) for arm in ("custom", "sum", "on")},
    "channel": (INFORMED, "channel"),
    "adamw": (ADAM, "mean"),
    "tied": ({"model": {"name": "rank_functions:tied"}}, "mean"),
}
OTHER = {
    "norm": (NORM, "channel"),
    "resnet": ({"model": {"name": "resnet20", "options": {"width": 2}}, **SHORT}, "mean"),
    "bf16": (BF16, "channel"),
    "nan": ({"arms": [{"name": "nan", "activation": "rank_functions:nan_on_one"}]}, "nan"),
}


@pytest.fixture(scope="module")
def epochs() -> list[tuple]:
    return []


@pytest.fixture(scope="module")
def two(user: object, data: ImageData, epochs: list[tuple]) -> dict[tuple[str, str], TrialRecord]:
    """Records of trials on two devices, by strategy and name; all trials run in the same two processes."""
    wanted = {
        (strategy, name): (tiny(strategy, **tables), arm)
        for strategy in ("ddp", "fsdp2")
        for name, (tables, arm) in (SAME | OTHER).items()
        if not (strategy == "ddp" and name in ("bounded", "sum", "adamw", "tied"))
    }
    records = on_ranks(2, partial(user.runs, runs=[*wanted.values()], data=data), lambda *row: epochs.append(row))
    return dict(zip(wanted, records, strict=True))


@pytest.fixture(scope="module")
def one(user: object, data: ImageData) -> dict[str, TrialRecord]:
    """Records of the same trials on one device."""
    return {name: run_trial(tiny(**tables), arm, 0, data, compare=False) for name, (tables, arm) in SAME.items()}


def same(ours: TrialRecord, theirs: TrialRecord, place: str) -> None:
    """Check that two records are equal to rounding."""
    ours, theirs = (dataclasses.replace(untimed(record), operator_costs=()) for record in (ours, theirs))
    for field in dataclasses.fields(TrialRecord):
        rows, expected = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name == "alarms":
            assert [(a.id, a.where, a.step) for a in rows] == [(a.id, a.where, a.step) for a in expected], place
        elif isinstance(rows, tuple):
            assert len(rows) == len(expected), f"{place}: {field.name}"
            for row, other in zip(rows, expected, strict=True):
                for value, reference in zip(dataclasses.astuple(row), dataclasses.astuple(other), strict=True):
                    close = pytest.approx(reference, rel=1e-6, abs=1e-9) if isinstance(reference, float) else reference
                    assert value == close, f"{place}: {row}"
        else:
            assert rows == expected, f"{place}: {field.name}"


def test_records_are_those_of_one_device_to_rounding(two: dict, one: dict) -> None:
    for (strategy, name), record in two.items():
        if name in SAME:
            same(record, one[name], f"{strategy}, {name}")
    assert len(two["fsdp2", "channel"].layer_scores) == 3 * 2
    assert any(record.alarms for record in one.values())


def test_slopes_move_and_are_read_in_whole(two: dict) -> None:
    for name in ("mean", "tied"):
        trial = two["fsdp2", name]
        last = [site for site in trial.sites if site.epoch == 2 and site.slopes]
        assert {site.slopes for site in last} == {1}
        assert all(site.slope_min == site.slope_max != 0.25 for site in last)
    assert two["fsdp2", "tied"].slope_parameters >= 1
    assert {site.slope_max for site in two["fsdp2", "bounded"].sites if site.epoch == 2} & {0.26}


def test_batch_norm_is_that_of_rank_0_under_both_strategies(two: dict, data: ImageData) -> None:
    for name in ("norm", "resnet"):
        same(two["fsdp2", name], two["ddp", name], name)
    ours, alone = two["fsdp2", "norm"], run_trial(tiny(**NORM), "channel", 0, data, compare=False)
    # Each rank has normalised its half of a batch: near one device, and not the same.
    assert ours.score("test", "loss") == pytest.approx(alone.score("test", "loss"), rel=0.5)
    assert ours.score("test", "loss") != pytest.approx(alone.score("test", "loss"), rel=1e-4)
    assert ours.score("validation", "loss", 0) == pytest.approx(alone.score("validation", "loss", 0), rel=1e-6)


def test_mixed_precision(two: dict, data: ImageData) -> None:
    alone = run_trial(tiny(**BF16), "channel", 0, data, compare=False)
    for strategy in ("ddp", "fsdp2"):
        assert two[strategy, "bf16"].score("test", "loss") == pytest.approx(alone.score("test", "loss"), rel=0.02)


def test_a_loss_that_is_nan_on_one_rank_ends_the_trial_on_all(two: dict) -> None:
    for strategy in ("ddp", "fsdp2"):
        trial = two[strategy, "nan"]
        assert (trial.status, trial.diverged_step) == ("finished", 2)
        assert "the training loss became nan at step 2" in trial.diverged_cause


def test_what_is_large_arrives(user: object) -> None:
    """A pipe holds 64 KiB."""
    assert on_ranks(2, partial(user.zeros, size=2**20)) == bytes(2**20)


def test_epochs_are_reported_as_they_end(two: dict, epochs: list) -> None:
    ended = [(row.epoch, [score.metric for score in scores]) for row, scores in epochs]
    assert ended[:2] == [(epoch, ["loss", "accuracy", "loss", "accuracy"]) for epoch in (1, 2)]
    assert len(ended) == sum(max(0, len(record.epochs) - 1) for record in two.values())


def test_operators_are_not_compared(two: dict) -> None:
    (cost,) = two["ddp", "mean"].operator_costs
    assert cost.rounds == 0
    assert "one device" in cost.reason or "stock PyTorch" in cost.reason


def pids(folder: Path, count: int) -> list[int]:
    deadline = time.monotonic() + 60
    while len(found := [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_a_rank_that_raises_ends_the_others(user: object, tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"(?s)rank 1 of 2 raised.*in raises.*KeyError: 'not there'\n$"):
        on_ranks(2, partial(user.raises, folder=tmp_path))
    assert not any(map(exists, pids(tmp_path, 2)))


def test_a_rank_that_is_killed_ends_the_trial_at_once_and_is_the_cause(data: ImageData) -> None:
    """The other rank raises, too, since it has lost the connection."""
    spec = tiny("ddp_spawn", arms=[{"name": "fatal", "activation": "rank_functions:fatal"}])
    with pytest.raises(RankLost, match=r"^the process of rank 1 of 2 was killed by signal 9; if nobody"):
        run_trial(spec, "fatal", 0, data)


SCRIPT = """
import sys
from functools import partial
sys.path.insert(0, {user!r})
import rank_functions
from slopewise.study._trial._ranks import on_ranks
if __name__ == "__main__":
    on_ranks(2, partial(rank_functions.waits, folder=sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ranks_end_with_their_parent(
    user: object, tmp_path: Path, start_script: Callable[..., subprocess.Popen]
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(user=str(Path(user.__file__).parent)))
    parent = start_script("script.py", tmp_path, cwd=tmp_path)
    try:
        ranks = pids(tmp_path, 2)
        parent.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(map(exists, ranks)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()


def test_blocks_that_share_a_parameter_stay_together() -> None:
    first, second, third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert blocks(nn.Sequential(first, nn.PReLU(), nn.Sequential(second, third))) == [third]
    act = nn.PReLU()
    model = nn.Sequential(nn.ModuleList([nn.Sequential(first, act)]), third, act)
    assert blocks(model) == [first, third]


class _Module(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)


def test_blocks_of_a_module_that_others_use_inside_are_kept_together() -> None:
    act = nn.PReLU()
    first, second, third = (_Module(nn.Linear(4, 4), part) for part in (act, act, nn.PReLU()))
    assert blocks(nn.Sequential(first, second, third)) == [third]
    assert blocks(nn.Sequential(first, third, act)) == [third]


def test_networks_that_a_strategy_cannot_train_are_refused_before_the_first_trial() -> None:
    refused = {
        "ddp": ({"model": {"name": "rank_functions:tied"}}, r"'ddp' waits for a gradient of 'unused.weight'.*or take"),
        "fsdp2": (
            {"arms": [{"name": "number", "activation": "rank_functions:number"}]},
            r"hardware.strategy: model 'cnn' with arm 'number', .* 'fsdp2' cannot shard 'act1.slope', .* take 'ddp'$",
        ),
    }
    for strategy, (tables, message) in refused.items():
        with pytest.raises(ModelError, match=message):
            preflight(tiny(strategy, **tables))
    preflight(tiny("ddp", **refused["fsdp2"][0]))
    preflight(tiny("fsdp2", **refused["ddp"][0]))
