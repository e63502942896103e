"""MLflow: its own client finds in a local store what the recording holds."""

from __future__ import annotations

import math

import pytest

from slopewise.monitor.sinks import MLflow, layer_metrics, replay, run_metrics
from slopewise.recording import Alarm, Recording, read_recording
from slopewise.testing import synthetic_recording

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Files are a store that needs no database driver; MLflow asks to say that they are meant."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    yield mlflow.MlflowClient()
    assert mlflow.active_run() is None
    mlflow.set_tracking_uri(before)


def new_run(client):
    return client.create_run("0").info.run_id


def test_metrics_are_the_recording(client):
    recording, run = synthetic_recording(samples=5), new_run(client)
    replay(recording, MLflow(run))
    expected = {}
    for sample in recording.samples:
        for name, value in (run_metrics(sample) | layer_metrics(sample)).items():
            expected.setdefault(name, []).append((sample.step, value))
    assert set(client.get_run(run).data.metrics) == set(expected)
    for name, values in expected.items():
        assert [(m.step, m.value) for m in client.get_metric_history(run, name)] == values
    assert client.get_run(run).info.status == "RUNNING"  # whose run it is ends it


def test_more_metrics_than_a_request_takes(client):
    recording, run = synthetic_recording(layers=120, samples=1), new_run(client)
    expected = run_metrics(recording.samples[0]) | layer_metrics(recording.samples[0])
    assert len(expected) > 1000
    replay(recording, MLflow(run, client=client))
    assert client.get_run(run).data.metrics == expected


def test_without_layers(client):
    run = new_run(client)
    replay(synthetic_recording(samples=2), MLflow(run, layers=False))
    assert len(client.get_run(run).data.metrics) == 11


def test_alarms_are_tags(client):
    recording, run = synthetic_recording(), new_run(client)
    replay(recording, MLflow(run))
    tags = {key: value for key, value in client.get_run(run).data.tags.items() if key.startswith("slopewise.")}
    assert set(tags) == {f"slopewise.{alarm.id}" for alarm in recording.alarms}
    for alarm in recording.alarms:
        assert f"step {alarm.step}: {alarm.where}: {alarm.evidence}" in tags[f"slopewise.{alarm.id}"]


def test_many_alarms_are_a_short_tag(client):
    alarms = tuple(Alarm("dead-units", f"layer{i}", 1, 1, "9 of 16 units are dead") for i in range(500))
    recording, run = synthetic_recording(samples=1, finished=False), new_run(client)
    replay(Recording(recording.header, recording.samples, alarms), MLflow(run))
    tag = client.get_run(run).data.tags["slopewise.dead-units"]
    assert len(tag) < 500
    assert tag.endswith("; and 495 more")


def test_the_recording_is_an_artifact(client, tmp_path):
    recording, run = synthetic_recording(), new_run(client)
    replay(recording, MLflow(run))
    assert {file.path for file in client.list_artifacts(run, "slopewise")} == {
        f"slopewise/{name}" for name in ("alarms.md", "recording.jsonl", "slopes.png")
    }
    assert read_recording(client.download_artifacts(run, "slopewise/recording.jsonl", str(tmp_path))) == recording


def test_the_active_run_is_taken_and_left(client):
    with mlflow.start_run() as run:
        replay(synthetic_recording(samples=2), MLflow())
        assert mlflow.active_run().info.run_id == run.info.run_id
    assert "slopewise/dead_max" in client.get_run(run.info.run_id).data.metrics


@pytest.mark.parametrize(("diverged", "status"), [(False, "FINISHED"), (True, "FAILED")])
def test_without_a_run_one_is_made_and_ended(client, diverged, status):
    replay(synthetic_recording(samples=4, diverged=diverged), MLflow())
    (run,) = client.search_runs(["0"])
    assert run.info.status == status
    if diverged:
        assert math.isnan(run.data.metrics["slopewise/slope_max"])
