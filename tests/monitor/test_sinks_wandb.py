"""Weights & Biases, offline: the run's own file holds what the recording holds."""

from __future__ import annotations

import json
import struct

import pytest

from slopewise.monitor.sinks import WandB, layer_metrics, replay, run_metrics
from slopewise.recording import End
from slopewise.testing import synthetic_recording

wandb = pytest.importorskip("wandb")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A folder in which runs are made, and nothing sent."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield tmp_path
    wandb.teardown()


def records(folder):
    """The records of the run's file: a header of 7 bytes, then blocks of 32 KiB, as LevelDB's logs have them."""
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its process has then written all
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, part, messages = path.read_bytes(), 7, b"", []
    while at < len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            messages.append(Record.FromString(part))
            part = b""
    return messages


def history(folder):
    rows = []
    for record in records(folder):
        if record.WhichOneof("record_type") == "history":
            row = {}
            for item in record.history.item:
                keys = list(item.nested_key) or [item.key]
                inner = row
                for key in keys[:-1]:
                    inner = inner.setdefault(key, {})
                inner[keys[-1]] = json.loads(item.value_json)
            rows.append(row)
    return rows


def files(folder, name):
    return sorted(folder.glob(f"wandb/offline-run-*/files/media/**/{name}*"))


def test_history_is_the_recording(offline):
    recording = synthetic_recording(samples=5)
    replay(recording, WandB())
    rows = [row for row in history(offline) if "slopewise/dead_max" in row]
    expected = [
        {"slopewise/step": sample.step, **run_metrics(sample), **layer_metrics(sample)} for sample in recording.samples
    ]
    assert [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows] == expected


def test_the_axis_is_the_optimizer_step_and_layers_are_no_panels(offline):
    replay(synthetic_recording(samples=2), WandB())
    metrics = [record.metric for record in records(offline) if record.WhichOneof("record_type") == "metric"]
    by_name = {metric.name or metric.glob_name: metric for metric in metrics}
    assert by_name["slopewise/*"].step_metric == by_name["slopewise_layers/*"].step_metric == "slopewise/step"
    assert by_name["slopewise_layers/*"].options.hidden
    assert not by_name["slopewise/*"].options.hidden


def test_alarms_are_a_table_and_the_slopes_a_picture(offline):
    recording = synthetic_recording()
    replay(recording, WandB())
    (table,) = files(offline, "alarms")
    content = json.loads(table.read_text())
    assert content["columns"] == ["step", "alarm", "where", "since", "evidence", "advice"]
    assert [row[:4] for row in content["data"]] == [[a.step, a.id, a.where, a.since] for a in recording.alarms]
    assert files(offline, "slopes")[0].suffix == ".png"
    assert not [r for r in records(offline) if r.WhichOneof("record_type") == "alert"]


def test_a_chart_has_a_line_per_layer(offline):
    recording = synthetic_recording(samples=6)
    replay(recording, WandB())
    (table,) = files(offline, "slope_table")
    data = json.loads(table.read_text())["data"]
    expected = {(s.step, slope.layer, slope.summary.median) for s in recording.samples for slope in s.slopes}
    assert {(step, layer, value) for step, layer, value in data} == expected
    assert len(files(offline, "*_table")) == 14


def test_a_chart_of_a_long_run_is_not_cut_off(offline, monkeypatch):
    monkeypatch.setattr("slopewise.monitor.sinks._wandb._ROWS", 100)
    replay(synthetic_recording(samples=80, every=1), WandB())
    for table in files(offline, "*_table"):
        steps = [row[0] for row in json.loads(table.read_text())["data"]]
        assert 60 < len(steps) <= 106  # a line begins with its first sample, whatever is left out
        assert max(steps) > 75


def test_without_layers(offline):
    replay(synthetic_recording(samples=2), WandB(layers=False))
    assert not any("slopewise_layers" in key or "charts" in key for row in history(offline) for key in row)
    assert not files(offline, "*_table")


def test_alerts_only_when_asked(offline):
    recording = synthetic_recording()
    replay(recording, WandB(alert=True))
    alerts = [record.alert for record in records(offline) if record.WhichOneof("record_type") == "alert"]
    assert [alert.title for alert in alerts] == [f"{alarm.id} at {alarm.where}" for alarm in recording.alarms]
    assert all(alarm.advice in alert.text for alarm, alert in zip(recording.alarms, alerts, strict=True))


def test_a_given_run_stays_open_and_keeps_its_own_rows(offline):
    run = wandb.init()
    run.log({"loss": 1.0})
    replay(synthetic_recording(samples=3), WandB(run))
    run.log({"loss": 0.5})
    run.finish()
    assert [row["loss"] for row in history(offline) if "loss" in row] == [1.0, 0.5]


def test_a_loop_with_its_own_steps_loses_nothing(offline):
    run, recording = wandb.init(), synthetic_recording(samples=6)
    sink = WandB(commit=False)  # the run that goes on
    sink.start(recording.header)
    for epoch in range(3):
        for sample in recording.samples[2 * epoch : 2 * epoch + 2]:
            sink.sample(sample)
        run.log({"loss": epoch}, step=epoch)
    sink.close(recording.end)
    run.finish()
    rows = history(offline)
    assert [row["loss"] for row in rows if "loss" in row] == [0, 1, 2]
    assert [row["slopewise/step"] for row in rows if "loss" in row] == [151, 251, 251]  # a row is open until the next


@pytest.mark.parametrize(("error", "code"), [("", 0), ("ValueError: x", 1)])
def test_without_a_run_one_is_made_and_finished(offline, error, code):
    sink, recording = WandB(), synthetic_recording(samples=2)
    sink.start(recording.header)
    sink.sample(recording.samples[0])
    sink.close(End(9, 1.0, 0.1, (), error))
    assert wandb.run is None
    (end,) = [record.exit for record in records(offline) if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == code
