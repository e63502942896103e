"""The API: plan, run, resume, results."""

import dataclasses
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

import slopewise as sw
from slopewise.errors import ModelError, SpecError, StoreError
from slopewise.records import untimed
from slopewise.study import Store
from slopewise.testing import InProcessEngine

TINY = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}, "train": {"epochs": 1}}


def test_the_plan_keeps_the_arms_of_a_seed_together() -> None:
    plan = sw.Study(arms="relu,elu", seeds=2).plan()
    assert [(trial.arm, trial.seed) for trial in plan] == [("relu", 0), ("elu", 0), ("relu", 1), ("elu", 1)]


@pytest.mark.slow
def test_a_study_grows_by_arms_and_seeds_and_repeats_nothing(tmp_path: Path) -> None:
    small = sw.Study(arms="relu,elu", seeds=1, **TINY).run(tmp_path, workers=1)
    events: list[object] = []
    grown = sw.Study(arms="relu,elu,silu", seeds=2, **TINY)
    assert len(grown.missing(tmp_path)) == 4
    results = grown.run(tmp_path, on_event=events.append)
    assert len([event for event in events if type(event).__name__ == "Ended"]) == 4
    assert len(results.record.trials) == 6
    assert [*map(untimed, small.record.trials)] == [*map(untimed, results.record.trials)][:2]
    assert results.record.data["augmentation"] == {"shift": 1, "flip": False, "erase": 0.0, "kind": "labels"}
    assert results.record.data.get("code") == small.record.data.get("code")  # a commit is listed once
    assert results.record.stored
    whole = grown.run(tmp_path / "whole", workers=1)
    assert [*map(untimed, whole.record.trials)] == [*map(untimed, results.record.trials)]
    events.clear()
    assert grown.run(tmp_path, on_event=events.append).record == results.record
    assert events == []
    with pytest.raises(StoreError, match="arm silu is gone"):
        sw.Study(arms="relu,elu", seeds=2, **TINY).run(tmp_path)


@pytest.mark.slow
def test_operators_are_compared_once_an_arm_and_not_again(tmp_path: Path) -> None:
    first = sw.Study(arms="relu,prelu_shared", seeds=1, **TINY).run(tmp_path, workers=1)
    grown = sw.Study(arms="relu,prelu_shared,prelu_channel", seeds=2, **TINY).run(tmp_path, workers=1)
    compared = {(t.arm, t.seed): t.operator_costs for t in grown.record.trials if t.operator_costs}
    assert list(compared) == [("prelu_shared", 0), ("prelu_channel", 0)]
    assert compared["prelu_shared", 0] == first.record.trials[1].operator_costs
    (facts,) = grown.record.environments.values()
    assert facts["cpu_operators"] == dataclasses.asdict(sw.ops.backend())


@pytest.mark.slow
def test_a_comparison_of_relu_with_itself_is_exactly_zero(tmp_path: Path) -> None:
    results = sw.Study(arms="relu,again=relu", seeds=2, **TINY).run(tmp_path, workers=1)
    assert results.analysis.primary[0].differences == (0.0, 0.0)
    assert results.analysis.pairing.broken == ()
    for contrast in results.contrasts():
        if contrast.metric != "seconds_per_step":
            assert set(contrast.differences) <= {0.0}


def test_faults_are_found_before_anything_is_written(tmp_path: Path, user_module) -> None:  # type: ignore[no-untyped-def]
    user_module(
        "nets",
        "import torch\n"
        "def wrong(activation, num_classes, in_channels):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3), activation(3))\n"
        "def raising(activation, num_classes, in_channels):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(5, 3), activation(3))\n"
        "class Unused(torch.nn.Sequential):\n"
        "    def forward(self, x): return torch.relu(self[1](x.flatten(1)))\n"
        "def unused(activation, num_classes, in_channels):\n"
        "    return Unused(activation(10), torch.nn.Linear(64, 10))\n"
        "def leaving(activation, num_classes, in_channels): raise SystemExit(3)\n"
        "def lazy(activation, num_classes, in_channels):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10), activation(10))\n"
        "def frozen(activation, num_classes, in_channels):\n"
        "    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10), activation(10))\n"
        "    return net.requires_grad_(False)\n"
        "class Tuple(torch.nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        y = super().forward(x)\n"
        "        return y if self.training else (y, y)\n"
        "def tuple_later(activation, num_classes, in_channels):\n"
        "    return Tuple(torch.nn.Flatten(), torch.nn.Linear(64, 10), activation(10))\n",
    )
    out = tmp_path / "out"
    for model, message in (
        ("wrong", r"must return logits \(8, 10\) \(images, classes\) in training, not \(8, 3\)"),
        ("raising", r"model 'nets:raising' with arm 'relu', on images \(8, 1, 8, 8\), raised RuntimeError"),
        ("lazy", "model 'nets:lazy' .* raised .*uninitialized parameter"),
        ("tuple_later", "must return logits .* in evaluation, not tuple"),
        ("frozen", "model 'nets:frozen' .* raised ValueError"),
        ("unused", "makes activations but never applies one"),
        ("leaving", "model 'nets:leaving' .* raised SystemExit: 3"),
    ):
        with pytest.raises(ModelError, match=message):
            sw.Study(arms="relu", model={"name": f"nets:{model}"}).run(out)
    with pytest.raises(SpecError, match="unknown arm 'rlu'"):
        sw.Study(arms="relu,rlu").run(out)
    with pytest.raises(SpecError, match="hardware: "):
        sw.Study(hardware={"accelerator": "mps"}).run(out)
    with pytest.raises(SpecError, match="leaves no image to validate on"):
        sw.Study(data={"train_size": 20}).run(out)
    assert not (out / "study.db").exists()


def test_a_gpu_that_is_not_there_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SpecError, match=r"CUDA.*check the driver .* or train on the CPU: --device cpu"):
        sw.Study(hardware={"accelerator": "cuda"}).run(tmp_path)


@pytest.mark.slow
def test_an_empty_store_is_no_study_yet(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    assert len(sw.Study(arms="relu", seeds=1, **TINY).run(tmp_path).record.trials) == 1


@pytest.mark.slow
def test_the_log_of_a_driver_killed_at_its_very_end_is_merged_by_the_same_call(tmp_path: Path) -> None:
    study, killed = sw.Study(arms="relu", seeds=1, **TINY), tmp_path / "killed"
    record = study.run(tmp_path / "out", engine=InProcessEngine()).record
    killed.mkdir()
    with closing(Store.create(tmp_path / "out", study.spec, record.data)):
        for name in ("study.db", "study.db-wal"):
            shutil.copy(tmp_path / "out" / name, killed)
    assert study.run(killed).record == record
    assert sorted(path.name for path in killed.iterdir()) == [".lock", "study.db"]


def test_two_drivers_do_not_share_a_folder(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(StoreError, match="another run is at work"):
        sw.Study(**TINY).run(tmp_path)


def test_spec_or_fields() -> None:
    spec = sw.Study(seeds=2).spec
    assert sw.Study(spec).spec is spec
    with pytest.raises(SpecError, match="not both"):
        sw.Study(spec, seeds=3)


def test_load_spec_reads_toml(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('arms = ["relu", "gelu"]\nseeds = [3]\n[train]\nlr = 0.125\n')
    study = sw.load_spec(tmp_path / "s.toml")
    assert study.spec.train.lr == 0.125
    assert [trial.arm for trial in study.plan()] == ["relu", "gelu"]


@pytest.mark.parametrize(
    ("spec", "words"), [(sw.Study(seeds=1), "not Study: it is a study already"), ({}, "not dict$")]
)
def test_a_spec_of_another_type_is_refused(spec: object, words: str) -> None:
    with pytest.raises(SpecError, match=f"^spec must be a StudySpec, {words}"):
        sw.Study(spec)  # type: ignore[arg-type]
