"""TensorBoard: its own reader finds in the event file what the recording holds."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from torch.utils.tensorboard import SummaryWriter

from slopewise.monitor.sinks import TensorBoard, layer_metrics, replay, run_metrics
from slopewise.testing import synthetic_recording


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return events.Reload()


def text(events, tag):
    return [event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{tag}/text_summary")]


def lines(events):
    """The charts of the custom scalars: title, and the names of metrics that they find."""
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    (category,) = layout.category
    assert category.title == "slopewise"
    names = events.Tags()["scalars"]
    # TensorBoard matches regular expressions from the beginning of a name.
    return {chart.title: [name for name in names if re.match(chart.multiline.tag[0], name)] for chart in category.chart}


def test_scalars_are_the_recording(tmp_path):
    recording = synthetic_recording(layers=8)
    replay(recording, TensorBoard(tmp_path))
    events = read(tmp_path)
    expected = {}
    for sample in recording.samples:
        for name, value in (run_metrics(sample) | layer_metrics(sample)).items():
            expected.setdefault(name, []).append((sample.step, np.float32(value)))
    scalars = {name: [(e.step, np.float32(e.value)) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert scalars == expected


def test_few_charts_with_a_line_per_layer(tmp_path):
    recording = synthetic_recording(layers=40, samples=4)
    replay(recording, TensorBoard(tmp_path))
    events = read(tmp_path)
    charts = lines(events)
    assert len(charts) == 14
    assert len(charts["dead units, share"]) == 39  # the first site has no gradient to say so
    assert len(charts["slope, median"]) == len(recording.samples[0].slopes)
    per_layer = [name for name in events.Tags()["scalars"] if name.startswith("slopewise_layers/")]
    assert sorted(per_layer) == sorted(name for names in charts.values() for name in names)  # each in one chart
    assert len([name for name in events.Tags()["scalars"] if name.startswith("slopewise/")]) == 11


def test_without_layers(tmp_path):
    replay(synthetic_recording(), TensorBoard(tmp_path, layers=False))
    events = read(tmp_path)
    assert all(name.startswith("slopewise/") for name in events.Tags()["scalars"])
    assert "custom_scalars__config__" not in events.Tags()["tensors"]


def test_a_net_without_slopes_has_no_charts_of_them(tmp_path):
    replay(synthetic_recording(slopes=False), TensorBoard(tmp_path))
    events = read(tmp_path)
    assert all(lines(events).values())
    assert not any("slope" in title for title in lines(events))
    assert events.Tags()["images"] == []


def test_the_slopes_are_a_picture(tmp_path):
    replay(synthetic_recording(samples=25), TensorBoard(tmp_path))
    pictures = read(tmp_path).Images("slopewise/slopes")
    assert [event.step for event in pictures] == [451, 951, 1201]  # after 10 samples, 20, and at the end
    last = np.asarray(Image.open(io.BytesIO(pictures[-1].encoded_image_string)).convert("RGB")).astype(int)
    red, _, blue = last[40:180, 400:820].reshape(-1, 3).T
    assert (red > blue + 80).any()  # the slope that runs away
    assert (blue > red + 80).any()  # those that fall below 0


def test_alarms_and_notes_are_texts(tmp_path):
    recording = synthetic_recording()
    replay(recording, TensorBoard(tmp_path))
    events = read(tmp_path)
    tables = text(events, "slopewise/alarms")
    assert len(tables) == len(recording.alarms) > 3
    assert all(alarm.evidence in tables[-1] and alarm.advice in tables[-1] for alarm in recording.alarms)
    assert text(events, "slopewise/notes") == [f"- {recording.end.notes[0]}"]
    assert "SyntheticNet" in text(events, "slopewise/run")[0]


def test_a_given_writer_stays_open(tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.add_scalar("loss", 1.0, 1)
    replay(synthetic_recording(), TensorBoard(writer))
    writer.add_scalar("loss", 0.5, 2)
    writer.close()
    assert [event.value for event in read(tmp_path).Scalars("loss")] == [1.0, 0.5]


def test_nan_is_logged_as_such(tmp_path):
    replay(synthetic_recording(diverged=True), TensorBoard(tmp_path))
    assert np.isnan(read(tmp_path).Scalars("slopewise/slope_max")[-1].value)


def test_an_object_that_is_no_writer_is_refused():
    with pytest.raises(TypeError, match="SummaryWriter"):
        TensorBoard(3)
