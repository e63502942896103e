"""The scripts in benchmarks/ as real processes, on tiny sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slopewise.bench import Measurement

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.slow


def run(script, *arguments, warnings="error"):
    command = [sys.executable, "-W", warnings, BENCHMARKS / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def results(script, path, *arguments, **options):
    ended = run(script, *arguments, "--rounds", "2", "--json", path, **options)
    assert ended.returncode == 0, ended.stderr
    assert "; threads: 2; torch" in ended.stdout.splitlines()[0]
    written = json.loads(path.read_text())
    facts = written["facts"]
    assert {"cpu", "cores", "torch", "caches", "cpu_operators", "date", "load_average"} <= facts.keys()
    assert facts["threads"] == written["settings"]["threads"] == 2
    return ended, written


def test_kernels(tmp_path):
    ended, written = results(
        "kernels.py", tmp_path / "k.json", "--no-compile", "--sizes", "8x8x8x8", "--layouts", "channels_last",
        "--passes", "both", "forward",
    )  # fmt: skip
    assert len(written["measurements"]) == 2 * 2 * (2 + 2)
    assert {t["what"] for t in written["targets"]} == {"prelu / F.prelu at 8x8x8x8"}
    assert len(written["targets"]) == 4
    assert "of 4" in ended.stdout
    assert "8/8 batch_norm_prelu 8x8x8x8 channels_last bfloat16 residual added" in ended.stderr


def test_compiled_functions_are_timed_beside_the_others(tmp_path):
    _, written = results(
        "kernels.py", tmp_path / "k.json", "--sizes", "2x3x16x16", "--layouts", "contiguous", "--dtypes", "float32",
        warnings="default",  # torch.compile's own imports warn
    )  # fmt: skip
    names = {m["question"]: m["median"].keys() for m in written["measurements"]}
    assert "F.prelu compiled" in names["prelu"]
    assert "BatchNorm+PReLU compiled" in names["batch_norm_prelu"]


def test_networks(tmp_path):
    _, written = results(
        "networks.py", tmp_path / "n.json", "--no-compile", "--networks", "cnn", "--batch", "4", "--width", "4",
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


def test_a_converted_network_of_a_library(tmp_path):
    ended, written = results(
        "networks.py", tmp_path / "n.json", "--networks", "monai-resnet18", "--layouts", "channels_last",
        "--batch", "2", "--width", "2", "--memory", "returned",
    )  # fmt: skip
    measured, faults = written["measurements"]
    assert measured["case"] == faults["case"] == {
        "network": "monai-resnet18 of width 2", "layout": "channels_last", "batch": "batch 2 of 1x32x32x32",
        "memory": "memory returned",
    }  # fmt: skip
    assert list(measured["median"]) == [
        "ReLU", "PReLU", "slopewise", "slopewise fused", "slopewise fused low_memory",
    ]  # fmt: skip
    assert measured["base"] == "ReLU"
    assert "1/1 training step monai-resnet18 channels_last" in ended.stderr


def test_networks_of_a_library_that_is_not_installed_are_left_out():
    code = (
        "import runpy, sys; sys.modules['monai'] = None; sys.argv = sys.argv[1:]; "
        "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, BENCHMARKS / "networks.py", "--networks", "monai-resnet18"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 2
    assert "monai-resnet18 is left out: monai is not installed (pip install monai)" in ended.stderr
    assert "no network is left to measure" in ended.stderr


def test_memory(tmp_path):
    _, written = results(
        "memory.py", tmp_path / "m.json", "--networks", "cnn", "--layouts", "channels_last", "--batch", "16",
    )  # fmt: skip
    saved, peak = written["measurements"]
    assert saved["unit"] == "B"
    assert saved["ratio_to_base"]["PReLU"][0] > 1.3
    for variant in ("ReLU", "PReLU"):
        assert 0.9 < peak["median"][variant] / saved["median"][variant] < 4


@pytest.mark.parametrize("size", ["8x8x8", "8x8x8x0", "big"])
def test_a_wrong_size_is_refused(size):
    ended = run("kernels.py", "--sizes", size)
    assert ended.returncode == 2
    assert f"invalid size value: '{size}'" in ended.stderr


def test_the_plot_draws_every_panel(tmp_path):
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
    ended = run("_plot.py", tmp_path, picture)
    assert ended.returncode == 0, ended.stderr
    drawn = picture.read_text()
    assert drawn.startswith("<svg")
    for words in ("Training step of ResNet-20", "slopewise prelu", ">0.33<", ">1.50<"):
        assert words in drawn

    (tmp_path / "memory.json").write_text('{"measurements": []}')
    ended = run("_plot.py", tmp_path, picture)
    assert ended.returncode == 1
    assert "0 cases of 'bytes saved for backward' fit" in ended.stderr


def test_monitor(tmp_path):
    _, written = results(
        "monitor.py", tmp_path / "m.json", "--variants", "slopewise fused", "--layouts", "contiguous",
        "--batch", "2", "--width", "2",
    )  # fmt: skip
    steps, many = written["measurements"][:2]
    assert list(steps["median"]) == ["no monitor", "every=1", "between samples", "statistics hooks", "naive hooks"]
    assert list(many["median"]) == ["no monitor", "every=50"]
    assert [m["case"]["variant"] for m in written["measurements"]] == ["slopewise fused"] * 2
    assert written["targets"] == []  # none is about so small a network


def test_scale(tmp_path):
    ended = run("scale.py", "--trials", "5", "--json", tmp_path / "s.json")
    assert ended.returncode == 0, ended.stderr
    written = json.loads((tmp_path / "s.json").read_text())
    assert [row["trials"] for row in written["rows"]] == [5]
    assert written["targets"].keys() <= written["rows"][0].keys()
    assert "target" in ended.stdout
