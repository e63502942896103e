"""The scripts of examples/train, before and after: as they were, as training functions of a study, and as docs show."""

import difflib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from slopewise.records import StudyRecord, TrialRecord
from slopewise.study import Study, holds_study, read_study
from slopewise.testing import InProcessEngine

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples/train"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
METRICS = {"monai_unet": "dice"}
SITES = {
    "plain_loop": {"1", "3"},
    "lightning_module": {"block1.2", "block2.2"},
    "huggingface_trainer": {
        "resnet.embedder.embedder.activation",
        "resnet.encoder.stages.0.layers.0.activation",
        "resnet.encoder.stages.0.layers.0.layer.0.activation",
        "resnet.encoder.stages.1.layers.0.activation",
        "resnet.encoder.stages.1.layers.0.layer.0.activation",
    },
    "monai_unet": {
        "model.0.adn.A",
        "model.1.submodule.0.adn.A",
        "model.1.submodule.1.submodule.adn.A",
        "model.1.submodule.2.adn.A",
    },
    "fine_tune": {"relu_1", "relu_2"},
}
# What libraries say of themselves, of PyTorch and of this machine.
talkative = pytest.mark.filterwarnings("ignore")


def test_there_are_five_scripts_each_with_its_original() -> None:
    assert NAMES == sorted(SITES) == sorted(path.stem for path in (FOLDER / "before").glob("*.py"))


def text(path: Path) -> list[str]:
    """Lines of a script up to the call that runs it."""
    return path.read_text(encoding="utf-8").split('\n\nif __name__ == "__main__":')[0].rstrip().splitlines()


def changes(name: str) -> Iterator[str]:
    """Lines of the difference that slopewise makes to a script."""
    for line in difflib.unified_diff(text(FOLDER / "before" / f"{name}.py"), text(FOLDER / f"{name}.py"), n=1):
        if not line.startswith(("---", "+++")):
            yield "@@" if line.startswith("@@") else line


@pytest.mark.parametrize("name", NAMES)
def test_docs_show_the_lines_that_a_script_needs_which_are_under_ten(name: str) -> None:
    lines = list(changes(name))
    assert len([line for line in lines if line.startswith("+") and line != "+"]) < 10
    shown = "```diff\n" + "\n".join(lines) + "\n```"
    assert shown in (ROOT / "docs/train.md").read_text(encoding="utf-8"), (
        f"docs/train.md lacks, or shows otherwise:\n{shown}"
    )


def test_the_spec_that_docs_show_is_one() -> None:
    (block,) = re.findall("```toml\n(.*?)```", (ROOT / "docs/train.md").read_text(encoding="utf-8"), re.DOTALL)
    spec = Study(**tomllib.loads(block)).spec
    assert (spec.train.function, spec.metrics[0].name, spec.floor) == ("plain_loop:train", "accuracy", 0.1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be a user in the folder of the scripts, with a checkpoint to fine-tune; what they write goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    return tmp_path


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"before_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def study(name: str, **fields: object) -> Study:
    metric = {"name": METRICS.get(name, "accuracy"), "better": "higher"}
    train = {"function": f"{name}:train", "options": fields.pop("options", {})}
    return Study(
        **{"arms": "relu,prelu_channel", "seeds": 2, "train": train, "metrics": [metric], "margin": 0.01, **fields}
    )


def check(name: str, record: StudyRecord) -> None:
    """Compare what the records of a script's study must have in common."""
    relu, prelu, other = record.trials[:3]
    assert [trial.status for trial in record.trials] == ["finished"] * 4, record.trials[0].error
    assert relu.init_digest == prelu.init_digest != other.init_digest
    assert relu.slope_parameters == 0 < prelu.slope_parameters
    for trial in record.trials:
        assert not trial.diverged
        assert trial.score("test", record.primary.name) > (0.2 if name == "monai_unet" else 0.3)
        assert set(trial.curve("validation", record.primary.name)) == {epoch.epoch for epoch in trial.epochs} != set()
        assert {site.layer for site in trial.sites} == SITES[name]
        assert {site.slopes > 0 for site in trial.sites} == {trial.arm == "prelu_channel"}


@talkative
@pytest.mark.slow
@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", NAMES)
def test_the_original_works_and_so_does_its_study(name: str, place: Path) -> None:
    before = load(FOLDER / "before" / f"{name}.py")
    if name == "fine_tune":
        before.pretrain("digits-0-4.pt")
        Path("runs").mkdir()
    assert before.train(epochs=1)[METRICS.get(name, "accuracy")] > 0
    where = {"workers": 1} if name == "lightning_module" else {"engine": InProcessEngine()}  # loads data by processes
    check(name, study(name).run(place / "s", **where).record)
    logs = [path.read_text() for path in (place / "s/trials").rglob("log.txt")]
    assert len(logs) == 4
    assert not (place / "lightning_logs").exists()


@talkative
@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain_loop", "lightning_module", "huggingface_trainer"])
def test_a_loss_that_is_not_finite_ends_the_trial_from_within_a_trainer(name: str, place: Path) -> None:
    plan = study(name, seeds=1, arms="relu", options={"lr": 1e30})
    (trial,) = plan.run(place / "s", engine=InProcessEngine()).record.trials
    assert (trial.status, trial.diverged) == ("finished", True)
    assert "loss became " in trial.diverged_cause


@pytest.mark.slow
def test_fine_tuning_that_is_killed_goes_on_from_its_own_checkpoint(place: Path) -> None:
    load(FOLDER / "fine_tune.py").pretrain("digits-0-4.pt")
    flags = (
        "--train fine_tune:train --arms relu,prelu_channel --seeds 2 --metric accuracy --better higher --margin 0.01"
    )
    more = ["--set", "train.options.epochs=20", "--workers", "1", "--out", "s"]
    command = [sys.executable, "-m", "slopewise", "run", *flags.split(), *more]
    driver = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path])},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    log = place / "s/trials/prelu_channel/seed-0/log.jsonl"
    try:
        deadline = time.monotonic() + 100
        while not log.exists() or len(log.read_text().splitlines()) < 3:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert holds_study(place / "s")
    assert [(trial.arm, trial.seed) for trial in read_study(place / "s").trials] == [("relu", 0)]
    plan = study("fine_tune", options={"epochs": 20})
    resumed = plan.run(place / "s", engine=InProcessEngine()).record.trials
    whole = plan.run(place / "whole", engine=InProcessEngine()).record.trials
    assert list(map(course, resumed)) == list(map(course, whole))
    printed = {path.parent.parent.name: path.read_text() for path in (place / "s/trials").rglob("seed-0/log.txt")}
    assert printed["relu"] == ""
    assert printed["prelu_channel"].startswith("goes on after epoch ")
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(9, 181, 9))


def course(trial: TrialRecord) -> tuple[object, ...]:
    """Return what a trial and an uninterrupted one must have in common to the last bit."""
    return trial.arm, trial.seed, trial.init_digest, trial.steps, [epoch.step for epoch in trial.epochs], trial.scores
