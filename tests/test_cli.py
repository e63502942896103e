"""The commands as real processes: output, refusals and exit status."""

import csv
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import slopewise as sw
from slopewise.bench import Job, Measurement, run_jobs
from slopewise.cli import app
from slopewise.study import Running, Store, origin
from slopewise.testing import synthetic_study

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = ("--train-size", "100", "--epochs", "1", "--set", "model.options.width=4")


def refused(ended: subprocess.CompletedProcess[str], message: str) -> None:
    """One clear line and status 2, nothing on stdout, no traceback."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert message in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ended.stderr


NETS = """
import torch
def raising(activation, num_classes, in_channels): raise RuntimeError("no such backbone")
def small(in_channels):
    conv = torch.nn.Conv2d
    return torch.nn.Sequential(conv(in_channels, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU(), conv(4, 2, 3))
def loss(output): return output.abs().sum()
"""

BAD_INPUT = [
    (("--arms", "relu,prelu_chanel"), "unknown arm 'prelu_chanel'; did you mean 'prelu_channel'?"),
    (("--set", "train.epoch=3"), "unknown key 'train.epoch'; did you mean 'epochs'?"),
    (("--set", "train.lr"), "write KEY=VALUE"),
    (("--data", "no/such/folder"), "unknown data 'no/such/folder', which is no folder"),
    (("--set", "data.source=folder", "--set", "data.path=absent"), "'absent' is not a folder"),
    (("--data", "photos"), "'photos' has no directories with pictures"),
    (("--data", "nan.npz"), "hold NaN or infinity, the first at index 3"),
    (("--model", "nets:raising"), "raised RuntimeError: no such backbone"),
    (("--model", "nets:absent"), "module 'nets' has no 'absent'"),
    (("--seeds", "some"), "seeds: "),
    (("--out", "file"), "cannot write the output folder 'file'"),
    (("--out", "broken"), "is not a SQLite file"),
    (("--engine", "slurm"), "unknown engine 'slurm'"),
    (("--engine-option", "workers"), "--engine-option workers: write KEY=VALUE, as in --engine-option workers=2"),
    (("--engine-option", "wrkers=2"), "LocalEngine has no option 'wrkers'; did you mean 'workers'"),
    (("--workers", "2", "--engine-option", "workers=2"), "workers: given twice"),
    (("--workers", "0"), "workers: at least 1"),
    (("--lr", "-1"), "train.lr: input should be greater than 0"),
    (("--seeds", "0-2000000000"), "are 2,000,000,001 seeds; a study takes at most 10,000"),
    (("--margin", "1e-12"), "margin: 1e-12 points is less than 0.001, the least margin"),
    (("--set", f"model.options.x={'[' * 900}"), "model.options.x: more than 32 tables or lists inside each other"),
    (("absent.toml",), "cannot read the spec 'absent.toml'"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT, ids=[" ".join(a) for a, _ in BAD_INPUT])
def test_bad_input_is_one_line_and_status_2(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "photos" / "empty").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.db").write_bytes(b"no database" * 100)
    images = np.zeros((20, 8, 8), np.float32)
    images[3] = np.nan
    np.savez(tmp_path / "nan.npz", x_train=images, y_train=np.arange(20) % 2, x_test=images, y_test=np.arange(20) % 2)
    refused(cli("run", *arguments), message)


@pytest.mark.slow
def test_a_read_only_folder_is_refused(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "read_only"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):  # root writes anywhere: run without the capability that lets it
        if not shutil.which("setpriv"):
            pytest.fail("this test needs `setpriv` (util-linux) when it runs as root")
        bounds = "-dac_override,-dac_read_search"
        prefix = ["setpriv", f"--bounding-set={bounds}", f"--inh-caps={bounds}"]
    else:
        prefix = []
    refused(cli("run", "--out", folder, prefix=prefix), f"cannot write the output folder '{folder}'")


@pytest.mark.slow
def test_the_life_of_a_study(cli: Cli, tmp_path: Path) -> None:
    command = ("run", "--arms", "relu,prelu_channel", "--seeds", "2", *TINY, "--out", "s", "--json")
    first = cli(*command)
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    primary = [c for c in result["contrasts"] if c["metric"] == "test_accuracy"]
    assert [c["arm"] for c in primary] == ["prelu_channel"]
    for contrast in result["contrasts"]:
        assert {"arm", "metric", "difference", "interval", "p", "verdict"} <= contrast.keys()
    assert primary[0]["difference"] == pytest.approx(sum(primary[0]["differences"]) / 2)
    assert (tmp_path / "s" / "report.html").stat().st_size > 4e6
    assert "4/4 trials done" in first.stderr

    again = cli(*command)
    assert again.stdout == first.stdout
    assert "trials done" not in again.stderr

    status = cli("status", "s")
    assert status.returncode == 0
    assert status.stdout.startswith("ended: 4 of 4 trials\n")
    assert "prelu_channel" in status.stdout

    listed = json.loads(cli("claims", "s", "--json").stdout)
    assert listed == result["claims"]
    ledger = cli("claims", "s").stdout
    assert all(claim["claim"] in re.sub(r"\s+", "", ledger) for claim in listed)
    assert "source" in cli("claims", "s", "--only", "steps-to-target").stdout
    assert cli("claims", "s", "--only", "2").stdout == cli("claims", "s", "--only", "steps-to-target").stdout
    refused(cli("claims", "s", "--only", "step-to-target"), "did you mean 'steps-to-target'?")

    assert cli("paragraph", "s").stdout.startswith("We compared prelu_channel with relu on digits (")

    page = cli("report", "s", "--to", "page.html")
    assert page.returncode == 0
    assert "prelu_channel" in page.stdout
    assert (tmp_path / "page.html").is_file()

    for form in ("json", "csv", "parquet"):
        ended = cli("export", "s", "--format", form, "--to", f"x-{form}")
        assert ended.returncode == 0, ended.stderr
        assert all(Path(tmp_path / line).is_file() for line in ended.stdout.split())
    exported = json.loads((tmp_path / "x-json").read_text())
    with (tmp_path / "x-csv" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "x-parquet" / "scores.parquet").to_pylist()
    scores = [row["value"] for trial in exported["trials"] for row in trial["scores"]]
    assert [float(row["value"]) for row in rows] == scores
    assert [row["value"] for row in table] == scores
    assert {(row["part"], row["metric"]) for row in table if row["epoch"] is None} == {
        *((part, metric) for part in ("train", "validation", "test") for metric in ("loss", "accuracy")),
        *(("test", f"recall[{label}]") for label in range(10)),
    }

    refused(cli("run", "--arms", "relu,prelu_channel", "--seeds", "2", *TINY, "--lr", "0.5", "--out", "s"),
            "'s' holds another study: train.lr was")  # fmt: skip
    refused(cli("export", "s", "--format", "xml"), "unknown format 'xml'")
    unwritable = cli("report", "s", "--to", "no/such/dir/page.html")
    assert (unwritable.returncode, "prelu_channel" in unwritable.stdout) == (2, True)
    assert unwritable.stderr.startswith("error: cannot write 'no/such/dir")
    refused(cli("export", "s", "--to", "s/study.db/x"), "cannot write 's/study.db")


@pytest.mark.slow
def test_output_of_a_model_does_not_spoil_the_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import os\n"
        "from slopewise.study.models import cnn\n"
        "def build(activation, num_classes, in_channels):\n"
        "    print('building'); os.system('echo from a child')\n"
        "    return cnn(activation, num_classes, in_channels, width=4)\n"
    )
    ended = cli(
        "run", "--model", "noisy:build", "--arms", "relu,elu", "--seeds", "1", *TINY[:4], "--workers", "1", "--json"
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout[ended.stdout.index("{") :])["control"] == "relu"
    assert "building" in ended.stderr
    assert "building" not in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("flag", [("--arms", "relu,prelu_chanel"), ("--model", "cnnn"), ("--data", "digitz")])
def test_a_dry_run_refuses_unknown_names(cli: Cli, flag: tuple[str, str]) -> None:
    refused(cli("run", *flag, "--dry-run"), "unknown ")


@pytest.mark.slow
def test_a_failing_trial_shows_in_the_exit_status_and_can_be_retried(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "acts.py").write_text(
        "import torch, pathlib\n"
        "class Sometimes(torch.nn.ReLU):\n"
        "    def forward(self, x):\n"
        "        if self.training and len(x) > 8 and pathlib.Path('bad').exists(): raise ValueError('moon')\n"
        "        return super().forward(x)\n"
        "def sometimes(channels): return Sometimes()\n"
    )
    (tmp_path / "bad").touch()
    command = ("run", "--arms", "relu,odd=acts:sometimes", "--seeds", "1", "--workers", "1", *TINY)
    ended = cli(*command)
    assert ended.returncode == 1
    assert "Failed, without a result: odd seed 0" in ended.stdout
    assert "ValueError: moon" in ended.stderr
    (tmp_path / "bad").unlink()
    assert cli(*command).returncode == 1  # what failed is not run again unasked
    assert cli(*command, "--retry-failed").returncode == 0
    assert cli(*command).returncode == 0


@pytest.mark.slow
def test_init_writes_a_spec_that_runs(cli: Cli, tmp_path: Path) -> None:
    assert cli("init").returncode == 0
    refused(cli("init"), "'study.toml' exists")
    assert cli("init", "--force").returncode == 0
    plan = cli("run", "study.toml", "--dry-run", "--json", "--seeds", "3", "--set", "train.lr=0.125")
    result = json.loads(plan.stdout)
    assert len(result["trials"]) == 15
    assert all(trial["missing"] for trial in result["trials"])
    assert result["spec"]["train"]["lr"] == 0.125
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.toml"]
    arguments = ("run", "--dry-run", "--seeds", "2", "--arms", "relu,elu")
    lines = cli(*arguments, "--verbose").stdout.splitlines()
    assert lines == [
        "run   relu  seed 0",
        "run   elu  seed 0",
        "run   relu  seed 1",
        "run   elu  seed 1",
        "4 of 4 trials to run",
    ]
    by_arm = ["relu: 2 of 2 trials to run", "elu: 2 of 2 trials to run", "4 of 4 trials to run"]
    assert cli(*arguments).stdout.splitlines() == by_arm


@pytest.mark.slow
def test_status_distinguishes_a_running_driver_from_a_killed_one(cli: Cli, tmp_path: Path) -> None:
    study = sw.Study(arms="relu,elu", seeds=2)
    (tmp_path / "s").mkdir()
    with closing(Store.create(tmp_path / "s", study.spec, {"classes": ["0", "1"]})) as store:
        store.add(synthetic_study(("relu", "elu"), 2).trials[0], {"cpu": "x"})
    assert cli("status", "s").stdout.startswith("stopped: 1 of 4 trials\n")
    now = time.time()
    state = asdict(Running(os.getpid(), now, now, now, origin=origin()))
    file = tmp_path / "s" / "running.json"
    file.write_text(json.dumps(state))
    assert cli("status", "s").stdout.startswith("running: 1 of 4 trials\n")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        other.kill()
    file.write_text(json.dumps(state | {"pid": other.pid}))  # a driver that was killed does not remove it
    assert cli("status", "s").stdout.startswith("stopped: 1 of 4 trials\n")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["status", "report", "claims", "paragraph", "export"])
def test_verbs_on_no_study(cli: Cli, verb: str) -> None:
    refused(cli(verb, "nowhere"), "no study in 'nowhere'")


def test_a_paragraph_about_a_table_of_results(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{arm},{seed},{30 + seed / 9 + gain}" for arm, gain in (("relu", 0), ("elu", 1)) for seed in range(8)]
    (tmp_path / "table.csv").write_text("\n".join(["act,seed,psnr", *rows]))
    refused(cli("paragraph", "table.csv"), "of a table of results, `slopewise judge --paragraph` prints it")
    options = {"arm": "act", "seed": "seed", "metric": "psnr", "better": "higher", "control": "relu", "margin": "0.1"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert cli("judge", "table.csv", *words, "--paragraph").stdout.startswith("We compared elu with relu")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["run", "init", "status", "report", "claims", "paragraph", "export", "bench"])
def test_help_shows_examples(cli: Cli, verb: str) -> None:
    ended = cli(verb, "--help")
    assert ended.returncode == 0
    assert f"slopewise {verb}" in ended.stdout


class RunOnce:
    """`run_jobs` that gives what it first measured to every later caller."""

    def __init__(self) -> None:
        self.measured: list[Measurement] = []

    def __call__(self, jobs: Iterable[Job], say: Callable[[str], None]) -> list[Measurement]:
        self.measured = self.measured or run_jobs(jobs, say)
        return self.measured


@pytest.mark.slow
def test_bench_ends_with_one_line_a_question_or_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured once for both forms, and in this process, which must not keep its memory."""
    monkeypatch.setattr("slopewise.bench.run_jobs", RunOnce())
    runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"})
    command = ("bench", "--quick", "--threads", "1", "--no-keep-memory")
    ended = runner.invoke(app, command)
    assert ended.exit_code == 0, ended.output
    assert "; threads: 1; torch " in ended.stderr.splitlines()[0]
    assert "1/8 training step resnet20 channels_last" in ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[-5].startswith("PReLU costs ")
    assert lines[-4].startswith("PReLU alone costs ")
    assert lines[-3].startswith("BatchNorm+PReLU, fused, costs ")
    assert lines[-2].startswith("PReLU, fused, keeps ")
    assert lines[-1].startswith("PReLU, fused, lifts ")
    assert "convolutions alone" in ended.stdout

    ended = runner.invoke(app, [*command, "--json"])
    assert ended.exit_code == 0, ended.output
    result = json.loads(ended.stdout)
    assert len(result["answers"]) == 5
    assert result["facts"]["cpu_operators"]["reason"]
    step = next(m for m in result["measurements"] if m["question"] == "training step")
    answer = re.match(r"PReLU costs (\d+\.\d\d) of ReLU here", result["answers"][0])
    assert answer
    assert float(answer[1]) == pytest.approx(step["ratio_to_base"]["slopewise fused low_memory"][0], abs=0.006)
    assert {m["question"] for m in result["measurements"]} == {
        "training step", "page faults in a training step", "prelu", "batch_norm_prelu", "bytes saved for backward",
        "peak resident memory",
    }  # fmt: skip


@pytest.mark.slow
def test_bench_of_a_network(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    network = ("--model", "nets:small", "--input", "3x8x8")
    ended = cli("bench", *network, "--quick", "--threads", "1", "--loss", "nets:loss")
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()[-2:]
    assert first.startswith("shortest training step: ")
    assert second.startswith("fewest bytes kept for backward: ")
    assert "batch 2 of 3x8x8" in ended.stdout
    refused(cli("bench", *network[:2]), "--model needs the shape of an image, as in --input 3x112x112")
    refused(cli("bench", *network[2:]), "--input is for a network of yours")
    refused(cli("bench", "--model", "nets:absent", *network[2:]), "module 'nets' has no 'absent'")


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["0", "1000000"])
def test_bench_refuses_no_threads_and_too_many(cli: Cli, threads: str) -> None:
    refused(cli("bench", "--threads", threads), f"threads: 1 to 1,024, got {threads}")
