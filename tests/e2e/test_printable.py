"""Names of users on their way through every command: no control sequence of theirs reaches a terminal or a page."""

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slopewise.monitor import Recording
from slopewise.monitor.sinks import JsonLines
from slopewise.records import AlarmRecord
from slopewise.study import Store, parse_spec
from slopewise.testing import synthetic_recording, synthetic_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="names of files hold any byte, and terminals have a path"),
]

# The title, a colour and an erasure that rich never writes; a return, a line end, C1's introducer, text turned round.
BAD = "\x1b]0;t\x07\x1b[38;5;201m\x1b[3J\r\n\x9b1m\u202eb"
SHOWN = "\\x1b]0;t\\x07\\x1b[38;5;201m\\x1b[3J\\r\\n\\x9b1m\\u202eb"
FOLDER = BAD + b"\xff".decode(errors="surrogateescape")  # and a byte that is no UTF-8
TINY = ("--seeds", "1", "--epochs", "1", "--workers", "1")
NETS = f"""
import warnings
from multiprocessing import current_process
from slopewise.study.models import cnn
BAD = {BAD!r}
warnings.simplefilter("always")  # these tests make errors of warnings
def small(activation, num_classes, in_channels):
    if current_process().name == "MainProcess":  # what a user's code prints in its trials is its own
        warnings.warn(BAD)
    return cnn(activation, num_classes, in_channels, width=2)
def raising(activation, num_classes, in_channels):
    raise ValueError(BAD)
"""
FAILING = f"raise SystemError({BAD!r})"


def harmless(text: str, *, terminal: bool) -> None:
    """Check that text holds no control character but what our own lines and rich's colours need.

    Pages keep a number and its unit on one line by spaces that do not break.
    """
    for sequence in ("\x07", "\x1b]", "\x1b[38;5;201m", "\x1b[3J", "\x9b", "\u202e"):
        assert sequence not in text, text
    if terminal:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    else:
        assert "\r" not in text
    assert text.replace("\n", "").replace("\u00a0", "").isprintable(), text


@pytest.fixture
def each_way(tmp_path: Path, command_server: Callable[[], Any]) -> Callable[..., list[str]]:
    """Run a command twice, into pipes and on a terminal, and check both outputs."""
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)

    def run(*arguments: str | Path, status: int = 0, shows: str = SHOWN) -> list[str]:
        words = [*map(str, arguments)]
        ended, *piped = command_server().run(words, tmp_path, environment)
        assert ended == status, piped
        for text in piped:
            harmless(text, terminal=False)
        assert shows in "".join(piped).replace("\n", ""), piped
        ended, seen = command_server().run_on_terminal(words, tmp_path, environment)
        assert ended == status, seen
        harmless(seen, terminal=True)
        return piped

    return run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder whose every name, text and fact is hostile."""
    arms = ("relu", BAD, f"prelu{BAD}_shared")
    record = synthetic_study(arms, 8, epochs=2, effects={BAD: 3.0}, diverged={BAD: 2}, failed={"relu": 1})
    spec = parse_spec({"name": BAD, "arms": [f"{arm}=relu" for arm in arms], "control": "relu", "seeds": 8})
    folder = tmp_path / FOLDER
    folder.mkdir()
    environment = {"cpu": BAD, BAD: BAD}
    with closing(Store.create(folder, spec, {**record.data, "name": BAD, "classes": [BAD, "b"], BAD: BAD})) as store:
        for trial in record.trials:
            changes: dict[str, Any] = {"sites": tuple(replace(site, layer=BAD) for site in trial.sites[:1])}
            if trial.status == "failed":
                changes["error"] = f"Traceback\n{BAD}"
            elif trial.diverged:
                changes["diverged_cause"] = BAD
            alarm = AlarmRecord("dead-units", BAD, step=3, since=1, evidence=BAD)
            store.add(replace(trial, gradients=(), alarms=(alarm,), **changes), environment)
    return folder


def page(path: Path) -> None:
    """Check a page: outside its scripts it holds no control character, and no figure draws one."""
    text = path.read_text(encoding="utf-8")
    figures = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert figures
    assert not any(BAD in str(value) for figure in figures for value in strings(json.loads(figure)))
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    harmless(outside.replace("\t", ""), terminal=False)
    assert SHOWN.replace("\\n", "\n") in outside  # a line may end there


def strings(value: Any) -> list[str]:
    """Every string in plain data."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in strings(item)]


def test_a_study_is_shown(each_way: Callable[..., list[str]], study: Path, tmp_path: Path) -> None:
    each_way("status", study)
    out, _ = each_way("status", study, "--json", shows="planned")
    assert BAD in json.loads(out)["arms"]
    out, err = each_way("report", study)
    assert "against relu" in out
    assert "Alarm dead-units" in out
    assert "report: " in err
    page(study / "report.html")
    out, _ = each_way("report", study, "--json", "--to", tmp_path / f"{BAD}.html", shows="contrasts")
    assert json.loads(out)["name"] == BAD
    for form in ("json", "csv"):
        each_way("export", study, "--format", form, "--to", tmp_path / f"{BAD}{form}")
    assert json.loads((tmp_path / f"{BAD}json").read_text())["spec"]["name"] == BAD  # data stay as they are
    assert BAD in (tmp_path / f"{BAD}csv" / "trials.csv").read_bytes().decode()


def test_errors_about_a_study(each_way: Callable[..., list[str]], study: Path, tmp_path: Path) -> None:
    each_way("status", BAD, status=2)
    each_way("report", study, "--to", f"{BAD}/page.html", status=2)
    each_way("export", study, "--format", BAD, status=2)
    each_way("run", "--out", study, "--dry-run", status=2)  # another study's folder
    each_way("run", f"{BAD}.toml", status=2)
    each_way("run", "--arms", BAD, status=2)
    each_way("run", "--set", f"{BAD}=1", status=2)
    each_way("run", "--set", BAD, status=2)
    each_way("run", "--model", BAD, status=2)
    each_way("run", "--data", BAD, status=2)
    each_way("run", "--engine", BAD, status=2)
    each_way("run", "--epochs", BAD, status=2, shows="epochs")
    each_way(BAD, status=2, shows="No such command")
    each_way("status", f"--{BAD}", status=2, shows="No such option")
    each_way("watch", BAD, status=2)
    each_way("init", f"{BAD}.toml", "--force")
    (tmp_path / "bad.toml").write_text(json.dumps(BAD) + " = 1")
    each_way("run", "bad.toml", status=2)


def test_a_run_from_hostile_folders_of_classes(each_way: Callable[..., list[str]], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in (BAD, "b"):
        (tmp_path / FOLDER / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / FOLDER / name / f"{number}{BAD}.png")
        (tmp_path / FOLDER / name / f"{BAD}.txt").touch()
    (tmp_path / "nets.py").write_text(NETS)
    arms = ("--arms", f"relu,{BAD}=elu", "--set", f"name={BAD}", "--set", "data.image_size=8")
    folder = ("--data", tmp_path / FOLDER)
    (tmp_path / "failing.py").write_text(FAILING)
    small = ("--model", "nets:small", *folder, *arms)
    _, err = each_way("run", *small, *TINY, "--dry-run")
    assert "files are left out" in err
    each_way("run", *folder, *arms, "--model", "nets:raising", status=2, shows=SHOWN[:20])
    each_way("run", *folder, *arms, "--model", "failing:net", status=2, shows=SHOWN[:20])
    out, err = each_way("run", *small, *TINY, "--out", f"out{BAD}")
    assert SHOWN in out
    assert "2/2 trials done" in err
    page(tmp_path / f"out{BAD}" / "report.html")


def test_what_training_left(each_way: Callable[..., list[str]], tmp_path: Path) -> None:
    tensors = {f"{BAD}.weight": torch.tensor([0.25, -3.0]), "fc.weight": torch.zeros(3, 3), "fc.bias": torch.zeros(3)}
    torch.save(tensors, tmp_path / f"{BAD}.pt")
    each_way("inspect", f"{BAD}.pt")
    out, _ = each_way("inspect", f"{BAD}.pt", "--json", shows="layers")
    assert json.loads(out)["file"] == f"{BAD}.pt"
    each_way("inspect", f"{BAD}.pt", "--key", BAD, status=2)
    each_way("inspect", f"{BAD}.pt", "--only", BAD * 2, status=2)
    each_way("inspect", f"{BAD}.bin", status=2)
    recording = synthetic_recording(layers=4, prefix=BAD)
    assert recording.end
    recording = Recording(
        replace(recording.header, model=BAD, name=BAD),
        recording.samples,
        recording.alarms,
        replace(recording.end, notes=(BAD,), error=BAD),
    )
    sink = JsonLines(tmp_path / f"{BAD}.jsonl")
    sink.start(recording.header)
    for sample in recording.samples:
        sink.sample(sample)
    for alarm in recording.alarms:
        sink.alarm(alarm)
    sink.close(recording.end)
    each_way("inspect", f"{BAD}.jsonl", "--html", f"{BAD}.html")
    page(tmp_path / f"{BAD}.html")
    out, _ = each_way("inspect", f"{BAD}.jsonl", "--json", shows="header")
    assert json.loads(out)["header"]["name"] == BAD
    (tmp_path / f"{BAD}2.jsonl").write_text(json.dumps({BAD: 1}))
    each_way("inspect", f"{BAD}2.jsonl", status=2)
