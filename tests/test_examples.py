"""Every numbered example, run as a reader would run it, with warnings as errors; its output is checked."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import slopewise as sw

EXAMPLES = sorted(Path(__file__).parent.parent.glob("examples/[0-9]*.py"))
WATCHED = ("07_lightning", "08_huggingface_trainer", "09_trackers")


def run(path):
    return subprocess.run([sys.executable, "-W", "error", path], capture_output=True, text=True, check=False)


def numbers(pattern, output):
    """For each line that matches, the number or the list of numbers at its end."""
    return [ast.literal_eval(text) for text in re.findall(rf"{pattern}[^:]*: +(.+)", output)]


def shared_slope(output):
    assert "PReLU(num_parameters=1)" in output
    assert "input (1, 3, 64, 64) -> output (1, 3, 64, 64), slopes (1,)" in output
    (before,), (after, final) = numbers("slope before", output), numbers("slope after", output)
    assert before == 0.25
    # The loss is (a − 0.1)²·mean(x², x ≤ 0). For normal x that mean is 1/2, so a step of 0.5 halves the distance.
    assert after == pytest.approx(0.175, abs=0.005)
    assert final == pytest.approx(0.1, abs=1e-3)


def conv_bn_prelu(output):
    assert output.count("input (1, 3, 32, 32) -> output (1, 16, 32, 32)") == 2
    assert "shared: slopes (1,)" in output
    assert "per channel: slopes (16,)" in output
    shared, per_channel = numbers("slopes before", output)
    assert shared == [0.25]
    assert per_channel == [0.25] * 16
    shared, per_channel = numbers("slopes after", output)
    # The loss is the mean of a²x² over x ≤ 0, and more: x is normalised, so its gradient is 2a·mean(x², x ≤ 0) ≈ a.
    # Of the slope that 16 channels share it is their mean, as the layer is told.
    assert shared == [pytest.approx(0.25 - 0.125 / 16, abs=0.001)]
    assert per_channel == [pytest.approx(0.25 - 0.125 / 16, abs=0.001)] * 16
    assert len(set(per_channel)) > 1


def slope_per_channel(output):
    assert "PReLU(num_parameters=3)" in output
    assert "input (8, 3, 32, 32) -> output (8, 3, 32, 32), slopes (3,)" in output
    (before,), (after, final) = numbers("slopes before", output), numbers("slopes after", output)
    expected = [-0.1, 0.1, 0.6]
    assert before == [0.25] * 3
    # As for a shared slope, but each channel has a third of the elements that the loss is a mean of.
    assert after == pytest.approx([0.25 + (slope - 0.25) / 3 for slope in expected], abs=0.005)
    assert final == pytest.approx(expected, abs=1e-3)


def fused_residual_net(output):
    assert "input (16, 3, 32, 32) -> output (16, 4); BatchNormPReLU2d(16, " in output
    plain, low = numbers("MiB kept", output)
    if sw.ops.backend().name == "kernels":
        # 1 MiB is one activation of 16·16·32·32 float32 numbers. Of the five layers four give theirs to a convolution
        # that keeps it anyway. (The last one's output is kept in the place of its input.)
        assert plain - low == pytest.approx(4, abs=0.01)
    else:
        assert plain == low
    for first, last in numbers("loss before and after", output):
        assert first == pytest.approx(1.62, abs=0.02)  # about log 4, before anything is learned
        assert last < 0.3
    (difference,) = numbers("largest difference of a slope", output)
    assert difference < 1e-4
    assert "slopes learned: 80, from" in output
    (difference,) = numbers(r"largest difference after unfuse\(\)", output)
    assert difference < 1e-4


def export(output):
    assert "net.onnx: ONNX, opset 18, " in output
    assert "net.pt2: torch.export, " in output
    assert output.count("  input   images (batch, 3, 16, 16)") == output.count("  output  logits (batch, 4)") == 2
    assert "PReLU   2 nodes; slopes (1, 16, 1, 1), (1, 1, 1, 1)" in output
    assert output.count("batch 16 (the example): ") == output.count("batch 17: ") == 2
    relative = [float(text) for text in re.findall(r"relative ([\d.e+-]+)$", output, re.MULTILINE)]
    assert len(relative) == 6
    assert max(relative) <= 1e-5
    (noise,) = re.findall(r"signal to noise ([\d.]+) dB", output)
    assert float(noise) > 15  # above 25 where the processor adds int8 products in 32 bits (VNNI)
    for difference in numbers("largest difference of the", output):
        assert difference < 1e-5


def swap_into_your_model(output):
    assert output.count("6 call sites converted (6 relu); +112 parameters") == 2
    assert "blocks.0, blocks.1: in its source, since its relu is applied at 2 places" in output
    assert "5 of 6 sites are fused" in output
    assert "112 slopes, 0 decayed; 0 parameters frozen" in output
    assert "PReLU   6 nodes; slopes 5 x (1, 16, 1, 1), (1, 32)" in output
    same, rounding = re.findall(r"  outputs differ by (\S+)", output)
    assert float(same) == 0
    assert float(rounding) < 1e-4
    ((given, converted),) = numbers("accuracy as given", output)
    assert converted == given
    ((fine_tuned, folded),) = numbers("accuracy fine-tuned", output)
    assert fine_tuned > given > 0.2
    assert folded == pytest.approx(fine_tuned, abs=0.005)
    assert numbers("slopes before", output) == [[0.0, 0.0]]
    ((least, greatest),) = numbers("slopes after", output)
    assert -0.3 < least < 0 < greatest < 0.3
    ((first, last),) = numbers("loss before", output)
    assert last < first / 2
    relative = [float(text) for text in re.findall(r"relative ([\d.e+-]+)$", output, re.MULTILINE)]
    assert len(relative) == 3
    assert max(relative) <= 1e-5


def watched(output, *, steps, every, sites):
    """Check the output that the examples of watching have in common."""
    assert f"one every {every} steps" in output
    assert numbers("optimizer steps", output) == [steps]
    assert numbers("steps sampled", output) == [list(range(1, steps + 1, every))]
    assert [site.removeprefix("resnet.") for site in numbers("activations seen", output)[0]] == sites


def page(output):
    """The HTML file that a person would open."""
    (path,) = re.findall(r"the run as a page: (.+)", output)
    return Path(path).read_text(encoding="utf-8")


def scalars(folder):
    """Return the scalars that TensorBoard's own reader reads, after checking the picture of slopes."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    assert events.Images("slopewise/slopes")[-1].height > 100
    return {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def lightning(output):
    watched(output, steps=87, every=10, sites=["block1.bn", "block2.bn", "relu()"])
    assert numbers("alarms raised", output) == [[]]
    assert "block1.bn" in page(output)
    (folder,) = re.findall(r"--logdir (.+)", output)
    (run,) = Path(folder).iterdir()
    logged = scalars(run)
    assert logged["slopewise/dead_max"] == logged["slopewise_layers/slope/block1.bn"] == list(range(1, 88, 10))
    assert "loss" in logged
    (table,) = re.findall(r"as a table: (.+)", output)
    assert "slopewise/dead_max" in Path(table).read_text(encoding="utf-8").splitlines()[0]


def huggingface_trainer(output):
    layers = "encoder.stages.{}.layers.0."
    sites = [layers.format(stage) + name for stage in (0, 1) for name in ("layer.0.activation", "activation")]
    watched(output, steps=60, every=10, sites=["embedder.embedder.activation", *sites])
    assert "read back from the file: True" in output
    assert "stages.0.layers.0.activation" in page(output)
    (folder,) = re.findall(r"--logdir (.+)", output)
    (run,) = Path(folder).iterdir()
    assert scalars(run / "slopewise")["slopewise/dead_max"] == list(range(1, 61, 10))


def trackers(output):
    assert "one every 5 steps, of 100 steps" in output
    for alarm in ("slope-decayed at 1", "slope-near-0 at 3", "dead-units at 5"):
        assert f": {alarm}: " in output
    (alarms,) = numbers("alarms raised", output)
    assert "read back from the file: True" in output
    places = {
        name: Path(path) for name, path in re.findall(r"^(\w[\w &]+): +(?:[^\d\n/]+ )?(/.+)$", output, re.MULTILINE)
    }
    steps = list(range(1, 101, 5))
    assert scalars(places["TensorBoard"])["slopewise/slope_min"] == steps
    logged = (places["MLflow"] / "metrics" / "slopewise" / "slope_min").read_text(encoding="utf-8").splitlines()
    assert [int(line.split()[2]) for line in logged] == steps
    assert (places["MLflow"] / "tags" / "slopewise.slope-decayed").is_file()
    copy = places["MLflow"] / "artifacts" / "slopewise" / "recording.jsonl"
    assert copy.read_bytes() == places["the file"].read_bytes()
    (table,) = places["Weights & Biases"].glob("files/media/table/slopewise/alarms*.json")
    assert len(json.loads(table.read_text(encoding="utf-8"))["data"]) == alarms


CHECKS = {
    "01_shared_slope": shared_slope,
    "02_conv_bn_prelu": conv_bn_prelu,
    "03_slope_per_channel": slope_per_channel,
    "04_fused_residual_net": fused_residual_net,
    "05_export": export,
    "06_swap_into_your_model": swap_into_your_model,
    "07_lightning": lightning,
    "08_huggingface_trainer": huggingface_trainer,
    "09_trackers": trackers,
}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in WATCHED)) for path in EXAMPLES],
    ids=[path.stem for path in EXAMPLES],
)
def test_example(path, request, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # examples that leave something to look at leave it there
    if path.stem in WATCHED:
        request.getfixturevalue("libraries")
    process = run(path)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    CHECKS[path.stem](process.stdout)


def test_every_check_has_its_example():
    assert set(CHECKS) == {path.stem for path in EXAMPLES}
