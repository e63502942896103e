"""The scripts in benchmarks/, on tiny sizes; in a process of its own what keeps its memory, for no test after it could
measure memory that is returned.
"""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.benchmark_scripts import BENCHMARKS, imported, run_main, run_script

from slopewise.bench import Measurement

pytestmark = pytest.mark.slow
ONE_THREAD = ("--threads", "1")  # two, on cores that other tests use, would wait for each other


def process(warnings, script, *arguments):
    command = [sys.executable, "-W", warnings, BENCHMARKS / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


in_process = partial(process, "error")


@pytest.fixture
def here(capsys):
    """Run a script in this process."""

    def run(script, *arguments):
        status = run_script(script, *arguments)
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return run


def results(run, script, path, *arguments, rounds=2):
    ended = run(script, *arguments, "--rounds", rounds, "--json", path)
    assert ended.returncode == 0, ended.stderr
    threads = 1 if arguments[:2] == ONE_THREAD else 2
    assert f"; threads: {threads}; torch" in ended.stdout.splitlines()[0]
    written = json.loads(path.read_text())
    facts = written["facts"]
    assert {"cpu", "cores", "torch", "caches", "cpu_operators", "date", "load_average"} <= facts.keys()
    assert facts["threads"] == written["settings"]["threads"] == threads
    return ended, written


def test_kernels(tmp_path):
    ended, written = results(
        in_process, "kernels.py", tmp_path / "k.json", "--no-compile", "--sizes", "8x8x8x8", "--layouts",
        "channels_last", "--passes", "both", "forward",
    )  # fmt: skip
    assert len(written["measurements"]) == 2 * 2 * (2 + 2)
    assert {t["what"] for t in written["targets"]} == {"prelu / F.prelu at 8x8x8x8"}
    assert len(written["targets"]) == 4
    assert "of 4" in ended.stdout
    assert "8/8 batch_norm_prelu 8x8x8x8 channels_last bfloat16 residual added" in ended.stderr


def test_compiled_functions_are_timed_beside_the_others(tmp_path):
    _, written = results(
        partial(process, "default"),  # torch.compile's own imports warn
        "kernels.py", tmp_path / "k.json", *ONE_THREAD, "--sizes", "2x3x16x16", "--layouts", "contiguous",
        "--dtypes", "float32", "--slopes", "per channel", "--residuals", "no residual",
    )  # fmt: skip
    names = {m["question"]: m["median"].keys() for m in written["measurements"]}
    assert "F.prelu compiled" in names["prelu"]
    assert "BatchNorm+PReLU compiled" in names["batch_norm_prelu"]


def test_networks(tmp_path):
    _, written = results(
        in_process, "networks.py", tmp_path / "n.json", *ONE_THREAD, "--no-compile", "--networks", "cnn",
        "--batch", "4", "--width", "4",
    )  # fmt: skip
    steps = [m for m in written["measurements"] if m["question"] == "training step"]
    assert [(m["case"]["memory"], m["case"]["layout"]) for m in steps] == [
        ("memory returned", "contiguous"), ("memory returned", "channels_last"),
        ("memory kept", "contiguous"), ("memory kept", "channels_last"),
    ]  # fmt: skip
    for m in written["measurements"]:
        assert list(m["median"]) == [
            "ReLU", "PReLU", "slopewise", "slopewise fused", "slopewise fused low_memory", "convolutions alone",
        ]  # fmt: skip
    faults = [m for m in written["measurements"] if m["question"] == "page faults in a training step"]
    assert [m["case"] for m in faults] == [m["case"] for m in steps]
    assert {m["unit"] for m in faults} == {"faults"}
    assert written["targets"] == []  # none is about so small a network


def test_a_converted_network_of_a_library(here, tmp_path):
    ended, written = results(
        here, "networks.py", tmp_path / "n.json", *ONE_THREAD, "--networks", "transformers-resnet18",
        "--layouts", "channels_last", "--batch", "2", "--width", "8", "--memory", "returned",
    )  # fmt: skip
    measured, faults = written["measurements"]
    assert measured["case"] == faults["case"] == {
        "network": "transformers-resnet18 of width 8", "layout": "channels_last", "batch": "batch 2 of 3x64x64",
        "memory": "memory returned",
    }  # fmt: skip
    assert list(measured["median"]) == [
        "ReLU", "PReLU", "slopewise", "slopewise fused", "slopewise fused low_memory",
    ]  # fmt: skip
    assert measured["base"] == "ReLU"
    assert "1/1 training step transformers-resnet18 channels_last" in ended.stderr


def test_networks_of_a_library_that_is_not_installed_are_left_out(here):
    with patch.dict(sys.modules, monai=None):
        ended = here("networks.py", "--networks", "monai-resnet18")
    assert ended.returncode == 2
    assert "monai-resnet18 is left out: monai is not installed (pip install monai)" in ended.stderr
    assert "no network is left to measure" in ended.stderr


def test_memory(here, tmp_path):
    _, written = results(
        here, "memory.py", tmp_path / "m.json", *ONE_THREAD, "--networks", "cnn", "--layouts", "channels_last",
        "--batch", "16", rounds=1,  # each has four processes
    )  # fmt: skip
    saved, peak = written["measurements"]
    assert saved["unit"] == "B"
    assert saved["ratio_to_base"]["PReLU"][0] > 1.3
    for variant in ("ReLU", "PReLU"):
        assert 0.9 < peak["median"][variant] / saved["median"][variant] < 4


@pytest.mark.parametrize("size", ["8x8x8", "8x8x8x0", "big"])
def test_a_wrong_size_is_refused(here, size):
    ended = here("kernels.py", "--sizes", size)
    assert ended.returncode == 2
    assert f"invalid size value: '{size}'" in ended.stderr


def test_the_plot_draws_every_panel(here, tmp_path):
    tensor = {"size": "128x16x32x32", "layout": "channels_last", "dtype": "float32", "pass": "both"}
    step = {"network": "resnet20", "layout": "channels_last", "batch": "batch 128"}
    kept, times = {**step, "memory": "memory kept"}, (2.0, 3.0, 4.0)
    cases = {
        "kernels": [
            Measurement("prelu", {**tensor, "slopes": "per channel"}, {"F.relu": times, "slopewise prelu": times}, "s"),
            Measurement("batch_norm_prelu", {**tensor, "residual": "no residual"}, {"BatchNorm+ReLU": times}, "s"),
        ],
        "networks": [Measurement("training step", kept, {"ReLU": times, "slopewise fused": (1.0, 1.0, 1.0)}, "s")],
        "memory": [Measurement("bytes saved for backward", step, {"ReLU": (2.0,), "PReLU": (3.0,)}, "B")],
    }
    for name, measurements in cases.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"measurements": [m.to_json() for m in measurements]}))
    picture = tmp_path / "images" / "p.svg"
    ended = here("_plot.py", tmp_path, picture)
    assert ended.returncode == 0, ended.stderr
    drawn = picture.read_text()
    assert drawn.startswith("<svg")
    for words in ("Training step of ResNet-20", "slopewise prelu", ">0.33<", ">1.50<"):
        assert words in drawn

    (tmp_path / "memory.json").write_text('{"measurements": []}')
    ended = here("_plot.py", tmp_path, picture)
    assert ended.returncode == 1
    assert "0 cases of 'bytes saved for backward' fit" in ended.stderr


def test_monitor(here, tmp_path):
    _, written = results(
        here, "monitor.py", tmp_path / "m.json", *ONE_THREAD, "--variants", "slopewise fused", "--layouts",
        "contiguous", "--batch", "2", "--width", "2",
    )  # fmt: skip
    steps, many = written["measurements"][:2]
    assert list(steps["median"]) == ["no monitor", "every=1", "between samples", "statistics hooks", "naive hooks"]
    assert list(many["median"]) == ["no monitor", "every=50"]
    assert [m["case"]["variant"] for m in written["measurements"]] == ["slopewise fused"] * 2
    assert written["targets"] == []  # none is about so small a network


def test_scale(tmp_path, capsys):
    with imported("scale") as scale:
        measure = scale.in_process

        def one_in_a_process(_do, what, folder, *options):  # all of them are started alike
            if what == "analysis":
                return measure("--do", what, folder, *options)
            return scale.write(5, Path(folder), None) if what == "write" else scale.measure(what, Path(folder))

        with patch.object(scale, "in_process", one_in_a_process):
            run_main(scale, "--trials", "5", "--json", tmp_path / "s.json")
    written = json.loads((tmp_path / "s.json").read_text())
    assert [row["trials"] for row in written["rows"]] == [5]
    assert written["targets"].keys() <= written["rows"][0].keys()
    assert "target" in capsys.readouterr().out
