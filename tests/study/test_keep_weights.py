"""Weights that a study keeps: whose they are, how they are loaded, and what is said where there are none."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.errors import StoreError, StoreWarning
from slopewise.events import TrialKey
from slopewise.slopes import inspect_slopes
from slopewise.study import Study, StudySpec, kept_weights, load_model
from slopewise.study.data import load_data
from slopewise.testing import InProcessEngine, untimed

TINY = {"data": {"train_size": 100}, "model": {"options": {"width": 4, "batch_norm": True}}, "train": {"epochs": 1}}
DIVERGING = {"name": "wild", "activation": "relu", "lr": 1e30}


def tiny(arms: object = ("relu", "prelu_channel", DIVERGING), **fields: object) -> Study:
    return Study(arms=list(arms), **{"seeds": 2, **TINY, **fields})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    tiny(seeds=1).run(out, engine=InProcessEngine())  # an earlier run, which kept nothing
    tiny().run(out, engine=InProcessEngine(), keep_weights=True)
    return out


def accuracy(model: nn.Module) -> float:
    data = load_data(StudySpec(**TINY).data)
    images = torch.as_tensor(data.test_images[torch.arange(len(data.test_targets))])
    return (model(images).argmax(1) == torch.as_tensor(data.test_targets)).float().mean().item()


def test_each_trial_that_trained_has_a_file_and_its_network_scores_as_recorded(folder: Path) -> None:
    record = sw.load_study(folder).record
    kept = kept_weights(folder, record)
    names = {path.relative_to(folder).as_posix() for path in kept.values()}
    assert names == {"weights/relu/seed-1.pt", "weights/prelu_channel/seed-1.pt"}
    assert {p for p in (folder / "weights").rglob("*") if p.is_file()} == set(kept.values())
    for trial in record.trials:
        if trial.arm != "wild" and trial.seed == 1:
            model = load_model(folder, trial.arm, 1)
            assert not model.training
            assert accuracy(model) == pytest.approx(trial.score("test", "accuracy"), abs=1e-6)
    assert any(isinstance(module, nn.PReLU) for module in load_model(folder, "prelu_channel", 1).modules())
    slopes = inspect_slopes(torch.load(kept[TrialKey("prelu_channel", 1)], weights_only=True))
    assert len(slopes.layers) == 6


def test_records_are_those_of_a_study_that_keeps_nothing(folder: Path, tmp_path: Path) -> None:
    plain = tiny().run(tmp_path, engine=InProcessEngine()).record
    assert [*map(untimed, plain.trials)] == [*map(untimed, sw.load_study(folder).record.trials)]
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("arm", "seed", "cell", "words"),
    [
        (
            "relu",
            0,
            "",
            r"'relu' with seed 0 were not kept \(those of seeds 1 were\): .* --keep-weights",
        ),
        ("wild", 1, "", "'wild' with seed 1 diverged"),
        ("prelu_chanel", 1, "", "has no arm 'prelu_chanel'; did you mean 'prelu_channel'"),
        ("relu", 7, "", "has no trial of 'relu' with seed 7 that has ended"),
        ("relu", 1, "train.lr = 1", "no trial of 'relu' with seed 1 with train.lr = 1"),
    ],
)
def test_what_was_not_kept_is_said(folder: Path, arm: str, seed: int, cell: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        load_model(folder, arm, seed, cell=cell)


@pytest.mark.parametrize("place", ["postgresql://me@db/lab?study=first", "postgres://db/lab?study=first"])
def test_the_weights_of_a_study_in_a_database_are_in_its_folder(folder: Path, place: str) -> None:
    for ask in (lambda: load_model(place, "relu", 1), lambda: kept_weights(place, sw.load_study(folder).record)):
        with pytest.raises(
            StoreError, match=r"is the database of a study, and final weights are in the study's folder"
        ):
            ask()


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"PK" + data])
def test_damaged_weights_are_said_to_be(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    file = folder / "weights/relu/seed-1.pt"
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    try:
        with pytest.raises(StoreError, match=r"weights file '.*seed-1\.pt' is damaged \(.+\): take a copy") as caught:
            load_model(folder, "relu", 1)
        assert "\n" not in str(caught.value)
        torch.save([1, 2], file)
        with pytest.raises(StoreError, match=r"is damaged \(it holds a list\)"):
            load_model(folder, "relu", 1)
    finally:
        file.write_bytes(whole)


def test_weights_of_cells_have_files_of_their_own(tmp_path: Path) -> None:
    study = tiny(["relu"], seeds=1, map={"lr": [0.01, 0.02], "seeds": 1})
    record = study.run(tmp_path, engine=InProcessEngine(), keep_weights=True).record
    cells = [trial.cell for trial in record.every_trial]
    assert len({*cells}) == len(cells) > 1
    assert len({*kept_weights(tmp_path, record).values()}) == len(cells)
    states = [load_model(tmp_path, "relu", 0, cell=cell).state_dict() for cell in cells]
    assert not torch.equal(states[0]["conv1.weight"], states[1]["conv1.weight"])


FUNCTION = """
import torch
from torch import nn

def network():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))

def train(trial):
    trial.seed_all()
    x = torch.randn(16, 3)
    model = trial.apply(network(), x)
    optimizer = torch.optim.SGD(trial.param_groups(model, lr=0.1))
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    train.model = model
    return {"error": loss.item()}
"""


def test_the_network_of_a_training_function_is_kept_and_loaded_by_hand(
    tmp_path: Path, user_module: Callable[[str, str], str]
) -> None:
    name = user_module("keeping", FUNCTION)
    metrics = [{"name": "error", "better": "lower"}]
    study = Study(arms="prelu_channel", seeds=1, train={"function": f"{name}:train"}, metrics=metrics, margin=0.1)
    record = study.run(tmp_path, engine=InProcessEngine(), keep_weights=True).record
    (file,) = kept_weights(tmp_path, record).values()
    with pytest.raises(StoreError, match="is built by keeping:train: build it as there, convert it"):
        load_model(tmp_path, "prelu_channel", 0)
    module = sys.modules[name]
    model = sw.convert(module.network(), torch.zeros(2, 3), init=0.25).model
    model.load_state_dict(torch.load(file, weights_only=True))
    assert all(map(torch.equal, model.state_dict().values(), module.train.model.state_dict().values()))


def test_a_disk_that_cannot_be_written_warns_and_loses_no_trial(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("in the way")
    with pytest.warns(StoreWarning, match=r"the weights of a trial cannot be kept as .*seed-0\.pt"):
        record = tiny(["relu"], seeds=1).run(tmp_path, engine=InProcessEngine(), keep_weights=True).record
    assert [trial.status for trial in record.trials] == ["finished"]


def test_a_new_study_renames_the_weights_of_one_that_is_gone(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "weights/relu/seed-0.pt"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    (tmp_path / "weights/relu/.123.unfinished").write_bytes(b"half")
    tiny(["relu"], seeds=1).run(tmp_path, engine=InProcessEngine(), keep_weights=True)
    (aside,) = tmp_path.glob("weights.before-*")
    assert (aside / "relu/seed-0.pt").read_bytes() == b"old"
    assert load_model(tmp_path, "relu", 0) is not None


@pytest.mark.slow
def test_the_command_and_its_workers_keep_them_too(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    spec = {"arms": "relu", "seeds": 1, **TINY, "model": {"options": {"width": 4}}}
    Study(**spec).run(tmp_path, engine=InProcessEngine())
    flags = "--arms relu,prelu_channel --seeds 1 --epochs 1 --train-size 100 --set model.options.width=4 --workers 1"
    process = cli("run", *flags.split(), "--out", tmp_path, "--keep-weights")
    assert process.returncode == 0, process.stderr
    (line,) = re.findall(r"weights: .*", process.stderr.replace("\n", " "))
    assert "files for 1 of the 2 trials that trained" in line
    assert "before --keep-weights" in line
    assert load_model(tmp_path, "prelu_channel", 0) is not None


@pytest.mark.slow
def test_a_sharded_network_is_kept_whole(tmp_path: Path) -> None:
    hardware = {"devices": 2, "accelerator": "cpu", "strategy": "fsdp2"}
    study = tiny(["prelu_shared"], seeds=1, hardware=hardware, train={"epochs": 1, "batch_size": 32})
    (trial,) = study.run(tmp_path, engine=InProcessEngine(), keep_weights=True).record.trials
    assert trial.status == "finished", trial.error
    assert accuracy(load_model(tmp_path, "prelu_shared", 0)) == pytest.approx(trial.score("test", "accuracy"), abs=1e-3)
