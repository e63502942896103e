from dataclasses import replace

import pytest

from slopewise.monitor import from_line, read_recording, to_line
from slopewise.testing import synthetic_recording


def test_same_arguments_same_recording():
    assert synthetic_recording() == synthetic_recording()
    assert synthetic_recording() != synthetic_recording(seed=1)


def test_a_layer_dies_from_some_step_on_for_good():
    recording = synthetic_recording(samples=30)
    dead = [len(sample.sites[1].dead) for sample in recording.samples]
    assert dead[0] == 0 < dead[-1]
    assert dead == sorted(dead)
    for sample in recording.samples:
        assert set(sample.sites[1].dead) == set(sample.sites[1].zero_gradient)
        assert not any(site.dead for site in sample.sites[2:])


def test_there_are_slopes_of_every_kind_and_alarms_about_them():
    recording = synthetic_recording(layers=8, samples=60)
    last = {layer.layer: layer for layer in recording.samples[-1].slopes}
    assert {layer.summary.count for layer in last.values()} == {1, 16}
    assert last["block2.act"].summary.above_1 == 1
    assert last["block4.act"].summary.negative > 8
    assert last["block5.act"].from_start == 0
    raised = {(alarm.id, alarm.where) for alarm in recording.alarms}
    assert {
        ("dead-units", "block1.act"),
        ("slope-runaway", "block2.act"),
        ("slope-negative", "block4.act"),
        ("linear-site", "block5.act"),
        ("slope-stuck", "block5.act"),
    } <= raised


def test_without_slopes_and_alarms():
    recording = synthetic_recording(layers=8, slopes=False, alarms=False, finished=False)
    assert not any(sample.slopes for sample in recording.samples)
    assert "prelu" not in {site.activation for sample in recording.samples for site in sample.sites}
    assert recording.alarms == ()
    assert recording.end is None


@pytest.mark.parametrize(("layers", "samples"), [(0, 0), (1, 1), (2, 1)])
def test_small_ones(layers, samples):
    recording = synthetic_recording(layers, samples, diverged=True)
    assert len(recording.samples) == samples
    assert all(len(sample.sites) == layers for sample in recording.samples)


def test_it_survives_a_file(tmp_path):
    recording = synthetic_recording(layers=6, samples=12)
    parts = (recording.header, *recording.samples, *recording.alarms, recording.end)
    assert tuple(from_line(to_line(part)) for part in parts) == parts
    (tmp_path / "run.jsonl").write_text("\n".join(map(to_line, parts)) + "\n", encoding="utf-8")
    assert read_recording(tmp_path / "run.jsonl") == recording
    assert read_recording(tmp_path / "run.jsonl") != replace(recording, end=None)
