"""`slopewise inspect` as a real process."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import slopewise as sw
from slopewise.monitor import ADVICE, Recording, to_line
from slopewise.testing import synthetic_recording

Cli = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow


def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(sw.ConvBNPReLU(3, 8), nn.Conv2d(8, 4, 1), nn.PReLU(4))
    nn.init.uniform_(model[2].weight, 0.1, 0.5)
    return model


def test_a_training_checkpoint_of_a_wrapped_network(cli: Cli, tmp_path: Path) -> None:
    torch.save({"epoch": 1, "state_dict": nn.DataParallel(net()).state_dict()}, tmp_path / "last.ckpt")
    ended = cli("inspect", "last.ckpt")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "last.ckpt, state_dict: 10 tensors, shown without the names of their wrappers\n"
    assert ended.stdout.startswith("12 slopes in 2 layers: alarms in 1 layer\n")
    assert "stuck at 0.25" in ended.stdout
    assert "◆" in ended.stdout
    assert cli("inspect", "last.ckpt", "--fail-on-alarm").returncode == 1
    healthy = cli("inspect", "last.ckpt", "--fail-on-alarm", "--skip", "0.bn")
    assert healthy.returncode == 0
    assert healthy.stdout.startswith("4 slopes in 1 layer: no alarms\n")


def test_json_is_one_strict_object_with_the_slopes(cli: Cli, tmp_path: Path) -> None:
    model = net()
    with torch.no_grad():
        model[0].bn.slope[1] = torch.inf
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    ended = cli("inspect", "x.safetensors", "--json", "--init", "0.25")
    assert (ended.returncode, ended.stderr) == (0, "")
    fields = json.loads(ended.stdout, parse_constant=pytest.fail)
    assert (fields["file"], fields["key"], fields["alarms"], fields["not_taken"]) == ("x.safetensors", "", 1, [])
    fused, prelu = fields["layers"]
    assert (fused["entry"], fused["certainty"], fused["values"][:3]) == ("0.bn.slope", "certain", [0.25, None, 0.25])
    assert fused["alarms"] == [{"kind": "not finite", "slopes": 1, "value": None}]
    assert (prelu["layer"], prelu["shape"], prelu["dtype"], prelu["certainty"]) == ("2", [4], "float32", "likely")
    assert prelu["values"] == model[2].weight.tolist()
    assert prelu["minimum"] == min(prelu["values"])


def test_a_narrow_encoding(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    torch.save(net().state_dict(), tmp_path / "x.pt")
    ended = cli("inspect", "x.pt")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()
    assert "?" not in ended.stdout  # nothing was replaced
    assert "O" in ended.stdout


REFUSED = {
    ("inspect", "absent.pt"): "cannot read the checkpoint 'absent.pt'",
    (
        "inspect",
        "two.pt",
    ): "several state dicts, 'model' (10 tensors), 'ema' (10 tensors): pick one with --key, as --key=model",
    ("inspect", "plain.pt"): "no slopes among the 2 tensors: looked for `slope`",
}


def test_bad_input_is_one_line_and_status_2(cli: Cli, tmp_path: Path) -> None:
    torch.save({"model": net().state_dict(), "ema": net().state_dict()}, tmp_path / "two.pt")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    for arguments, message in REFUSED.items():
        ended = cli(*arguments)
        assert (ended.returncode, ended.stdout) == (2, ""), arguments
        assert message in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1


def test_help_shows_examples(cli: Cli) -> None:
    shown = cli("inspect", "--help").stdout
    assert "slopewise inspect last.ckpt" in shown
    assert "slopewise inspect run.jsonl --html watch.html" in shown


def recorded(path: Path, *, alarms: bool = True, finished: bool = True) -> Recording:
    """A recording, in a file as `JsonLines` writes it."""
    recording = synthetic_recording(layers=4, samples=12, alarms=alarms, finished=finished, diverged=True)
    items = [recording.header, *recording.samples, *recording.alarms, *([recording.end] if recording.end else [])]
    path.write_text("".join(f"{to_line(item)}\n" for item in items), encoding="utf-8")
    return recording


def test_a_recording_is_known_by_its_content_and_shown_with_its_page(cli: Cli, tmp_path: Path) -> None:
    recording = recorded(tmp_path / "run.txt")
    ended = cli("inspect", "run.txt", "--html", "watch.html")
    assert (ended.returncode, ended.stderr) == (0, "page: watch.html\n")
    assert ended.stdout.startswith("synthetic: SyntheticNet, 12 samples, one every 50 steps, of 600 steps\n")
    for alarm in recording.alarms:
        assert f"! {alarm.id} at {alarm.where}" in ended.stdout
    assert "block1.act" in (tmp_path / "watch.html").read_text(encoding="utf-8")
    assert cli("inspect", "run.txt", "--fail-on-alarm").returncode == 1


def test_a_recording_without_alarms_that_goes_on(cli: Cli, tmp_path: Path) -> None:
    recorded(tmp_path / "run.jsonl", alarms=False, finished=False)
    with (tmp_path / "run.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"sample": {"step"')  # its writer is at work
    ended = cli("inspect", "run.jsonl", "--fail-on-alarm")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "up to step 551 so far\nno alarms\n" in ended.stdout


def test_a_recording_as_json_is_one_strict_object(cli: Cli, tmp_path: Path) -> None:
    recording = recorded(tmp_path / "run.jsonl")
    ended = cli("inspect", "run.jsonl", "--json", "--fail-on-alarm")
    assert (ended.returncode, ended.stderr) == (1, "")
    fields = json.loads(ended.stdout, parse_constant=pytest.fail)
    assert (fields["file"], fields["samples"], fields["alarms"]) == ("run.jsonl", 12, len(recording.alarms))
    assert fields["header"] == {"model": "SyntheticNet", "every": 50, "started": 1.75e9, "name": "synthetic"}
    assert [(a["id"], a["where"], a["advice"]) for a in fields["raised"]] == [
        (a.id, a.where, ADVICE[a.id]) for a in recording.alarms
    ]
    assert fields["latest"]["step"] == 551
    assert len(fields["latest"]["sites"]) == 4
    assert fields["latest"]["layers"][2]["gradient"] is None  # NaN
    assert fields["end"]["step"] == 600


def test_options_of_one_kind_of_file_are_refused_for_the_other(cli: Cli, tmp_path: Path) -> None:
    recorded(tmp_path / "run.jsonl")
    torch.save(net().state_dict(), tmp_path / "x.pt")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n{"b": 2}\n')
    refused = {
        ("run.jsonl", "--key", "ema"): "--key is for checkpoints, and 'run.jsonl' is a recording of the monitor",
        ("run.jsonl", "--only", "act*"): "--only is for checkpoints",
        ("x.pt", "--html", "x.html"): "--html is for recordings of the monitor, which 'x.pt' is not",
        ("empty.jsonl",): "'empty.jsonl' is empty",
        ("other.jsonl",): "'other.jsonl', line 1",
        ("absent.jsonl",): "cannot read 'absent.jsonl'",
        ("run.jsonl", "--html", "no/such/folder.html", "--json"): "cannot write 'no/such/",
    }
    for arguments, message in refused.items():
        ended = cli("inspect", *arguments)
        assert ended.returncode == 2, arguments
        assert message in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x.html").exists()
