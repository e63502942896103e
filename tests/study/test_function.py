"""Studies of a user's own training function: its arguments, its results, and the record made from them."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from slopewise.errors import SpecError
from slopewise.records import TrialRecord
from slopewise.report import render_html
from slopewise.study import Study, holds_study, read_study
from slopewise.study.engines import Workplace
from slopewise.testing import InProcessEngine, untimed

HEAD = """
import math, os, sys, time
import torch
from torch import nn

def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 1, 6, 6, generator=generator)
    return x, (x.mean((1, 2, 3)) > 0).long()

def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))

def fit(trial, model, steps=8, lr=0.05):
    x, y = data()
    optimizer = torch.optim.SGD(trial.param_groups(model, lr=lr), momentum=0.9)
    order = trial.stream("order")
    for step in range(1, steps + 1):
        chosen = torch.randperm(len(x), generator=order)[:32]
        loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            trial.log(step, loss=loss, val_score=step / 100, lr=lr)
    return nn.functional.cross_entropy(model(x), y).item()
"""
PLAIN = """
def train(trial, steps=8):
    print("begins", trial.arm, trial.seed)
    os.system("echo from a child")
    trial.seed_all()
    x, _ = data()
    model = trial.apply(network(), x[:2])
    trial.watch(model, every=2)
    return {"score": -fit(trial, model, steps), "train_score": 0.5, "extra": 3}
"""
METRIC = {"metrics": [{"name": "score", "better": "higher", "unit": "dB"}], "margin": 0.1}

Module = Callable[[str, str], str]


def study(user_module: Module, body: str, name: str = "mytrain", **fields: object) -> Study:
    user_module(name, HEAD + body)
    return Study(
        **{"arms": "relu,prelu_channel", "seeds": 2, "train": {"function": f"{name}:train"}, **METRIC, **fields}
    )


def test_a_trial_of_a_function_is_a_trial_like_any_other(user_module: Module, tmp_path: Path) -> None:
    results = study(user_module, PLAIN).run(tmp_path / "s", engine=InProcessEngine())
    record = results.record
    assert [(trial.arm, trial.seed, trial.status) for trial in record.trials] == [
        ("relu", 0, "finished"), ("prelu_channel", 0, "finished"),
        ("relu", 1, "finished"), ("prelu_channel", 1, "finished"),
    ]  # fmt: skip
    relu, prelu = record.trials[:2]
    assert (relu.steps, [epoch.step for epoch in relu.epochs]) == (8, [4, 8])
    assert relu.curve("validation", "score") == {1: 0.04, 2: 0.08}
    assert [epoch.learning_rate for epoch in relu.epochs] == [0.05, 0.05]
    assert (relu.score("train", "score"), relu.score("test", "extra")) == (0.5, 3.0)
    assert relu.score("train", "loss") == relu.curve("train", "loss")[2]
    assert (relu.parameters, relu.slope_parameters, prelu.slope_parameters) == (222, 0, 8)
    assert relu.init_digest == prelu.init_digest != record.trials[2].init_digest
    assert {site.layer for site in prelu.sites} == {"1", "3"}
    assert {site.epoch for site in prelu.sites} == {1, 2}
    assert record.primary.unit == "dB"
    assert results.contrasts()[0].metric == "test_score"
    page = render_html(record)
    assert "Validation score, dB" in page
    assert "Training: mytrain:train." in page
    assert "on the training batch of the latest sampled step" in page
    assert "Model: cnn" not in page
    assert record.spec.keys() == {
        "name",
        "arms",
        "control",
        "seeds",
        "margin",
        "floor",
        "metrics",
        "model",
        "train",
        "hardware",
        "monitor",
        "until_decided",
        "factors",
    }


def test_what_it_prints_goes_to_a_log_of_its_own(
    user_module: Module, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    study(user_module, PLAIN, seeds=1).run(tmp_path / "s", engine=InProcessEngine())
    log = (tmp_path / "s/trials/relu/seed-0/log.txt").read_text()
    assert log.splitlines() == ["begins relu 0", "from a child"]
    assert "begins" not in "".join(capfd.readouterr())
    sys.stdout.write("streams are back")
    assert capfd.readouterr().out == "streams are back"


def test_records_repeat_to_the_last_bit_in_other_processes(user_module: Module, tmp_path: Path) -> None:
    plan = study(user_module, PLAIN)
    here = plan.run(tmp_path / "here", engine=InProcessEngine()).record.trials
    there = plan.run(tmp_path / "there", workers=2).record.trials
    assert list(map(untimed, here)) == list(map(untimed, there))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "returned nothing: it must return the study's metrics, as in {'score': value}"),
        ("return 3.0", "returned float 3.0: it must return the study's metrics"),
        ("return {'scores': 3.0}", "returned no 'score', which is a metric of the study; did you mean 'scores'?"),
        ("return {}", "returned no 'score', which is a metric of the study; it is empty"),
        ("return {'score': 'good'}", "gave str 'good' as 'score': it must be one number"),
        ("return {'score': torch.ones(3)}", "gave a tensor of shape (3,) as 'score': it must be one number"),
        ("return {'score': math.nan}", "returned nan as 'score': state with --floor"),
        ("trial.log(3, loss='x')", "gave str 'x' as trial.log(loss=...): it must be one number"),
        ("trial.log(3, loss=1.0); trial.log(2, loss=1.0)", "called trial.log with step 2: steps are whole numbers"),
        ("trial.apply(nn.Linear(2, 2), torch.zeros(1, 2))", "called trial.apply, which failed: Linear on the example"),
    ],
)
def test_misuse_is_one_line_before_anything_is_stored(
    user_module: Module, tmp_path: Path, body: str, words: str
) -> None:
    apply = "" if "apply" in body else "trial.apply(network(), data()[0][:2]); "
    plan = study(user_module, f"def train(trial):\n    {apply}{body}\n")
    with pytest.raises(SpecError) as caught:
        plan.run(tmp_path / "s", engine=InProcessEngine())
    assert str(caught.value).startswith(f"train function 'mytrain:train' {words}")
    assert "\n" not in str(caught.value)
    assert not holds_study(tmp_path / "s")


def test_a_function_that_never_applies_the_arm_is_refused(user_module: Module, tmp_path: Path) -> None:
    plan = study(user_module, "def train(trial):\n    return {'score': 1.0}\n")
    with pytest.raises(
        SpecError, match=r"never called trial\.apply\(model, example\), so that every arm trained the same"
    ):
        plan.run(tmp_path / "s", engine=InProcessEngine())


def test_a_fault_after_a_good_trial_costs_that_trial_alone(user_module: Module, tmp_path: Path) -> None:
    body = PLAIN.replace(
        "    return {", "    if trial.seed == 1 and trial.arm == 'relu':\n        return None\n    return {"
    )
    record = study(user_module, body).run(tmp_path / "s", engine=InProcessEngine()).record
    assert [trial.status for trial in record.trials] == ["finished", "finished", "failed", "finished"]
    assert record.trials[2].error == (
        "train function 'mytrain:train' returned nothing: it must return the study's metrics, as in {'score': value}"
    )


@pytest.mark.parametrize(
    ("end", "floor", "cause"),
    [
        ("trial.log(9, loss=math.inf)", None, "loss became inf at step 9"),
        ("return {'score': math.nan}", -2.0, "the function returned nan as score"),
        (
            "\n    try:\n        trial.log(9, loss=math.nan)\n    except Exception:\n        pass",
            None,
            "loss became nan",
        ),
    ],
)
def test_a_value_that_is_not_finite_is_a_divergence(
    user_module: Module, tmp_path: Path, end: str, floor: float | None, cause: str
) -> None:
    body = PLAIN.replace("    return {", f"    fit(trial, model)\n    {end}\n    return {{")
    record = study(user_module, body, seeds=1, floor=floor).run(tmp_path / "s", engine=InProcessEngine()).record
    for trial in record.trials:
        assert trial.diverged
        assert trial.diverged_cause.startswith(cause)
        assert not [row for row in trial.scores if row.epoch is None]
        assert all(math.isfinite(row.value) for row in trial.scores)
    assert record.primary.chance == floor


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metrics": ()}, "metrics: a train.function needs at least one, as in `--metric psnr --better higher`"),
        ({"train": {"function": "m:f", "epochs": 3}}, "train.epochs: has no effect with a train.function"),
        ({"data": {"source": "fashion-mnist"}}, "data.source: has no effect with a train.function"),
        ({"metrics": [METRIC["metrics"][0]] * 2}, "metrics: 'score' stands twice"),
        ({"train": {}}, "metrics: those of a task are chosen by task.options.metrics"),
        ({"metrics": [{"name": "score", "beter": "higher"}]}, "unknown key 'metrics.0.beter'; did you mean 'better'?"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        Study(**{"train": {"function": "m:f"}, **METRIC, **fields})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("body", "options", "words"),
    [
        ("", {}, "module 'mytrain' has no 'train'"),
        ("def train(): pass", {}, "is called as train(trial), which does not fit its parameters"),
        ("def train(trial): pass", {"steps": 3}, "is called as train(trial, steps), which does not fit"),
    ],
)
def test_a_function_is_checked_before_any_trial(
    user_module: Module, tmp_path: Path, body: str, options: dict[str, object], words: str
) -> None:
    plan = study(user_module, body, train={"function": "mytrain:train", "options": options})
    with pytest.raises(SpecError) as caught:
        plan.run(tmp_path / "s", engine=InProcessEngine())
    assert words in str(caught.value)


def test_folders_of_trials_differ_whatever_the_arms_are_called() -> None:
    arms = ["relu", "re lu", "re/lu", "..", ".", "é", "e" * 60, "e" * 59 + "/"]
    folders = [Workplace(Path("out")).of(arm, 0) for arm in arms]
    assert len(set(folders)) == len(arms)
    assert all(folder.parts[:2] == ("out", "trials") and ".." not in folder.parts for folder in folders)


def test_the_command_reports_misuse_and_runs(
    user_module: Module, cli: Callable[..., subprocess.CompletedProcess]
) -> None:
    user_module("mytrain", HEAD + PLAIN + "\ndef nothing(trial): pass\n")
    flags = "--arms", "relu,elu", "--seeds", "1", "--better", "higher", "--margin", "0.1"
    done = cli("run", "--train", "mytrain:nothing", "--metric", "score", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: train function 'mytrain:nothing' returned nothing")
    assert cli("run", "--train", "mytrain:train", "--metric", "other", *flags).returncode == 2
    done = cli("run", "--train", "mytrain:train", "--metric", "score", "--unit", "dB", *flags, "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["metric"]["unit"] == "dB"
    assert result["trials"]["finished"] == 2


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_with_what_is_missing(
    user_module: Module, tmp_path: Path, start_script: Callable[..., subprocess.Popen]
) -> None:
    body = PLAIN.replace(
        "    trial.seed_all()",
        "    marks = trial.folder / 'begun'\n"
        "    marks.write_text(marks.read_text() + 'x' if marks.exists() else 'x')\n"
        "    while trial.seed > 1 and os.environ.get('IT_WAITS'):\n"
        "        time.sleep(0.1)\n    trial.seed_all()",
    )
    plan = study(user_module, body, seeds=4)
    flags = "--train mytrain:train --arms relu,prelu_channel --seeds 4 --metric score --better higher --unit dB"
    command = ["-m", "slopewise", "run", *flags.split(), "--margin", "0.1", "--out", "s"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = start_script(*command, cwd=tmp_path, env={**os.environ, "IT_WAITS": "1"}, **silent)
    try:
        deadline = time.monotonic() + 60
        while not holds_study(tmp_path / "s") or len(read_study(tmp_path / "s").trials) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    kept = len(read_study(tmp_path / "s").trials)
    assert 2 <= kept < 8
    resumed = plan.run(tmp_path / "s", workers=2).record.trials
    whole = plan.run(tmp_path / "whole", workers=2).record.trials
    assert list(map(untimed, resumed)) == list(map(untimed, whole))
    begun = sum(len(path.read_text()) for path in (tmp_path / "s/trials").rglob("begun"))
    assert 8 <= begun <= 8 + 2  # what ran at the kill began again, and nothing else


def test_its_source_is_part_of_the_environment(user_module: Module, tmp_path: Path) -> None:
    def trials(folder: str, extra: str) -> tuple[TrialRecord, ...]:
        plan = study(user_module, PLAIN + extra, seeds=1)
        return plan.run(tmp_path / folder, engine=InProcessEngine()).record.trials

    assert trials("a", "")[0].environment != trials("b", "# changed\n")[0].environment


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "model = network(); trial.apply(model, data()[0][:2]); fit2(model)",
            "did not train the model that trial.apply",
        ),
        (
            "model = network(); trial.apply(model, data()[0][:2]); trial.watch(model)",
            "called trial.watch with a model that",
        ),
        ("trial.param_groups(network(), lr=0.1)", "called trial.param_groups before trial.apply"),
        ("trial.apply(network, data()[0][:2])", "called trial.apply with a function, not with a torch.nn.Module"),
        ("sys.exit(3)", "ended the program (sys.exit, status 3)"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--help'])", "ended the program (sys.exit, status 0)"),
    ],
)
def test_training_another_model_than_the_arm_s_is_refused(
    user_module: Module, tmp_path: Path, body: str, words: str
) -> None:
    other = "def fit2(model): torch.optim.SGD(model.parameters(), lr=0.1).step()\n"
    plan = study(user_module, f"{other}def train(trial):\n    {body}\n    return {{'score': 1.0}}\n")
    with pytest.raises(SpecError) as caught:
        plan.run(tmp_path / "s", engine=InProcessEngine())
    assert str(caught.value).startswith(f"train function 'mytrain:train' {words}")


def test_a_new_study_does_not_go_on_from_folders_of_an_old_one(user_module: Module, tmp_path: Path) -> None:
    body = PLAIN.replace(
        "    trial.seed_all()", "    trial.seed_all()\n    (trial.folder / 'last.pt').touch(exist_ok=False)"
    )
    plan = study(user_module, body, seeds=1)
    plan.run(tmp_path / "s", engine=InProcessEngine())
    (tmp_path / "s/study.db").unlink()
    assert [t.status for t in plan.run(tmp_path / "s", engine=InProcessEngine()).record.trials] == ["finished"] * 2
    (aside,) = (tmp_path / "s").glob("trials.before-*")
    assert (aside / "relu/seed-0/last.pt").exists()


@pytest.mark.parametrize("seed", ["torch.manual_seed(42)", "trial.seed_all()"])
def test_seeds_that_are_copies_of_one_run_stop_the_study(user_module: Module, tmp_path: Path, seed: str) -> None:
    body = PLAIN.replace("trial.seed_all()", seed)
    user_module("mytrain", HEAD.replace('trial.stream("order")', "torch.Generator().manual_seed(1)") + body)
    plan = Study(arms="relu,elu", seeds=3, train={"function": "mytrain:train"}, **METRIC)
    if "42" not in seed:  # other weights
        assert len(plan.run(tmp_path / "s", engine=InProcessEngine()).record.trials) == 6
        return
    with pytest.raises(
        SpecError, match="trained relu to the same weights, to the last bit, with seed 1 as with seed 0"
    ) as stopped:
        plan.run(tmp_path / "s", engine=InProcessEngine())
    assert not holds_study(tmp_path / "s")
    (kept,) = (tmp_path / "s").glob("study.db.stopped-*")
    assert f"kept in '{kept}'" in str(stopped.value)
    with closing(sqlite3.connect(kept)) as store:
        assert store.execute("SELECT arm, seed FROM trials ORDER BY arm DESC").fetchall() == [("relu", 0), ("elu", 0)]


def test_arms_that_did_not_start_alike_are_not_paired(user_module: Module, tmp_path: Path) -> None:
    body = PLAIN.replace("trial.seed_all()", "torch.manual_seed(trial.seed + 100 * (trial.arm != 'relu'))")
    results = study(user_module, body, seeds=3).run(tmp_path / "s", engine=InProcessEngine())
    (contrast,) = (row for row in results.contrasts() if row.metric == "test_score")
    assert not contrast.paired
    assert "did not start alike" in str(results)


def test_a_monitor_that_saw_nothing_says_so_in_the_log(user_module: Module, tmp_path: Path) -> None:
    body = PLAIN.replace("fit(trial, model, steps)", "fit(trial, lambda x: model[1:](model[0](x)), steps)").replace(
        "model = trial.apply", "global model; model = trial.apply"
    )
    head = HEAD.replace("trial.param_groups(model, lr=lr)", "globals()['model'].parameters(), lr=lr")
    user_module("mytrain", head + body)
    record = Study(arms="relu,elu", seeds=1, train={"function": "mytrain:train"}, **METRIC).run(
        tmp_path / "s", engine=InProcessEngine()
    )
    assert not record.record.trials[0].sites
    log = (tmp_path / "s/trials/relu/seed-0/log.txt").read_text()
    assert "trial.watch: no forward pass of the model was seen in a sampled step" in log
