"""JSON Lines: what is written is what is read; and the names under which trackers get it."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import SlopewiseError
from slopewise.monitor.sinks import (
    JsonLines,
    MLflow,
    Sink,
    SlopeMap,
    TensorBoard,
    WandB,
    alarm_table,
    layer_metrics,
    replay,
    run_metrics,
)
from slopewise.recording import (
    ALARM_IDS,
    Alarm,
    End,
    Header,
    LayerSample,
    Recording,
    Sample,
    SiteSample,
    SlopeSample,
    read_recording,
)
from slopewise.slopes import SlopeSummary, summarise
from slopewise.testing import synthetic_recording

names = st.text(max_size=12)  # layers can be called anything: line separators, quotes, surrogate-free Unicode
finite = st.floats(allow_nan=False, allow_infinity=False)
any_float = st.floats()
counts = st.integers(0, 2**53)
units = st.lists(st.integers(0, 5000), max_size=4).map(tuple)


def recordings(number):
    maybe = st.none() | number
    summaries = st.builds(SlopeSummary, *[counts] * 2, *[number] * 6, *[counts] * 4, maybe, st.booleans())
    sites = st.builds(SiteSample, names, names, counts, counts, number, units, units, st.none() | units, maybe, units)
    slopes = st.builds(SlopeSample, names, summaries, *[maybe] * 6)
    layers = st.builds(LayerSample, names, maybe, maybe, maybe, st.lists(names, max_size=2).map(tuple))

    def parts(kind):
        return st.lists(kind, max_size=2).map(tuple)

    samples = st.builds(Sample, counts, counts, parts(sites), parts(slopes), parts(layers), number)
    alarms = st.builds(Alarm, st.sampled_from(ALARM_IDS), names, counts, counts, names)
    ends = st.none() | st.builds(End, counts, number, number, st.lists(names, max_size=2).map(tuple), names)
    headers = st.builds(Header, names, st.integers(1, 1000), number, names)
    return st.builds(Recording, headers, parts(samples), parts(alarms), ends)


@given(recordings(finite))
def test_a_recording_is_read_as_it_was_written(tmp_path_factory, recording):
    path = tmp_path_factory.mktemp("runs") / "run.jsonl"
    replay(recording, sink := JsonLines(path))
    if recording.end is None:  # a run that goes on is read, too
        assert read_recording(path) == recording
        sink.close(End(0, 0.0, 0.0))
    else:
        assert read_recording(path) == recording


@given(recordings(any_float))
def test_every_line_is_strict_json(tmp_path_factory, recording):
    path = tmp_path_factory.mktemp("runs") / "run.jsonl"
    replay(replace(recording, end=End(1, math.inf, math.nan)), JsonLines(path))

    def refuse(word):
        raise AssertionError(word)

    lines = path.read_bytes().decode("ascii").splitlines()
    items = [json.loads(line, parse_constant=refuse) for line in lines]
    assert items[0]["format"] == "slopewise-monitor"
    assert len(items) == 2 + len(recording.samples) + len(recording.alarms)
    assert len(read_recording(path).samples) == len(recording.samples)


def test_lines_are_there_before_training_goes_on(tmp_path):
    recording = synthetic_recording()
    sink = JsonLines(tmp_path / "deep" / "er" / "run.jsonl")
    sink.start(recording.header)
    for number, sample in enumerate(recording.samples, start=1):
        sink.sample(sample)
        recording_so_far = read_recording(sink.path)
        assert len(recording_so_far.samples) == number
        assert recording_so_far.end is None
    sink.close(recording.end)
    assert read_recording(sink.path).end == recording.end


def test_a_killed_process_leaves_all_its_lines(tmp_path):
    code = """
import os, sys
from slopewise.monitor.sinks import JsonLines
from slopewise.testing import synthetic_recording
recording = synthetic_recording(samples=7)
sink = JsonLines(sys.argv[1])
sink.start(recording.header)
for sample in recording.samples:
    sink.sample(sample)
os.kill(os.getpid(), 9)
"""
    process = subprocess.run([sys.executable, "-c", code, tmp_path / "run.jsonl"], check=False)
    assert process.returncode == -9
    assert read_recording(tmp_path / "run.jsonl").samples == synthetic_recording(samples=7).samples


def test_an_existing_file_is_not_touched_unless_asked(tmp_path):
    path, recording = tmp_path / "run.jsonl", synthetic_recording(samples=3)
    replay(recording, JsonLines(path))
    before = path.read_bytes()
    with pytest.raises(SlopewiseError, match=r"run\.jsonl' exists: .*mode='w'.*mode='a'"):
        JsonLines(path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="mode must be"):
        JsonLines(path, mode="append")


def test_an_empty_file_is_nothing_to_lose(tmp_path):
    (tmp_path / "run.jsonl").touch()
    replay(synthetic_recording(samples=1), JsonLines(tmp_path / "run.jsonl"))
    assert len(read_recording(tmp_path / "run.jsonl").samples) == 1


def test_replacing_and_adding(tmp_path):
    path, first, second = tmp_path / "run.jsonl", synthetic_recording(samples=3), synthetic_recording(samples=2, seed=1)
    replay(first, JsonLines(path))
    size = path.stat().st_size
    replay(second, JsonLines(path, mode="a"))
    assert path.stat().st_size > size
    assert read_recording(path) == second  # the last run counts
    replay(first, JsonLines(path, mode="w"))
    assert path.stat().st_size == size
    assert read_recording(path) == first


def test_adding_behind_a_line_that_was_cut_short(tmp_path):
    path, recording = tmp_path / "run.jsonl", synthetic_recording(samples=3)
    replay(recording, JsonLines(path))
    path.write_bytes(path.read_bytes()[:-20])
    replay(recording, JsonLines(path, mode="a"))
    assert read_recording(path) == recording


def test_one_sink_for_two_runs(tmp_path):
    sink, recording = JsonLines(tmp_path / "run.jsonl"), synthetic_recording(samples=2)
    replay(synthetic_recording(samples=3), sink)
    replay(recording, sink)
    assert read_recording(sink.path) == recording


def test_a_sink_needs_nothing_but_sample():
    class Steps(Sink):
        def __init__(self):
            self.steps = []

        def sample(self, sample):
            self.steps.append(sample.step)

    replay(synthetic_recording(samples=3), sink := Steps())
    assert sink.steps == [1, 51, 101]
    with pytest.raises(TypeError, match="sample"):
        Sink()


def test_replay_keeps_the_order(tmp_path):
    calls = []

    class Told(Sink):
        start = sample = alarm = close = lambda self, item: calls.append(item)

    recording = synthetic_recording(diverged=True)
    replay(recording, Told())
    assert calls[0] == recording.header
    assert calls[-1] == recording.end
    assert [item for item in calls if isinstance(item, Alarm)] == list(recording.alarms)
    assert len(recording.alarms) > 3
    for before, item in pairwise(calls):
        if isinstance(item, Alarm):
            assert before.step == item.step


def site(name, **changes):
    plain = SiteSample(name, "relu", 4, 100, 0.5, (), (), (), 0.7)
    return replace(plain, **changes)


def test_metrics_of_a_run_are_the_ends_over_layers():
    sample = Sample(
        step=7,
        passes=1,
        sites=(
            site("a", positive=0.25, never_positive=(0, 1, 2), zero_gradient=(1, 2, 3), pass_through=0.5),
            site("b", always_positive=(0,), zero_gradient=(), pass_through=0.9),
            site("input", zero_gradient=None, pass_through=None, never_positive=(0, 1, 2, 3)),
        ),
        slopes=(),
        layers=(
            LayerSample("fc", 3.0, 2.0, 0.5),
            LayerSample("head", 4.0, 2.0, 0.1),
            LayerSample("frozen", None, 1, None),
        ),
    )
    assert run_metrics(sample) == {
        "slopewise/positive_min": 0.25,
        "slopewise/dead_max": 0.5,  # two of four are never positive and get no gradient
        "slopewise/always_positive_max": 0.25,
        "slopewise/zero_gradient_max": 0.75,
        "slopewise/pass_through_min": 0.5,
        "slopewise/gradient_min": 3.0,
        "slopewise/gradient_max": 4.0,
        "slopewise/update_ratio_max": 0.25,
    }
    layers = layer_metrics(sample)
    assert layers["slopewise_layers/dead/a"] == 0.5
    assert layers["slopewise_layers/update_ratio/head"] == 0.05
    assert "slopewise_layers/dead/input" not in layers  # there is no such number, and 0 would be a lie
    assert "slopewise_layers/gradient/frozen" not in layers
    assert not any("slope/" in name for name in layers)


def test_nan_in_one_layer_shows_in_the_metrics():
    last = synthetic_recording(diverged=True).samples[-1]
    assert math.isnan(run_metrics(last)["slopewise/slope_max"])
    assert math.isnan(layer_metrics(last)["slopewise_layers/slope/block2.act"])


@pytest.mark.parametrize("layers", [1, 8, 80])
def test_eleven_charts_however_deep_the_network(layers):
    recording = synthetic_recording(layers=layers, samples=4)
    assert all(len(run_metrics(sample)) <= 11 for sample in recording.samples)
    assert len({name.split("/")[1] for sample in recording.samples for name in layer_metrics(sample)}) <= 14


def test_the_page_has_every_name():
    page = (Path(__file__).parents[2] / "docs" / "monitor-adapters.md").read_text(encoding="utf-8")
    cells = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    last = synthetic_recording().samples[-1]
    assert named == {name.split("/")[1] for name in run_metrics(last) | layer_metrics(last)}


def test_names_are_what_all_trackers_take():
    odd = ["block.relu()", "block.relu() (2)", "block.relu (2)", "block.relu", "", "größe", "a b", "x/y:z"]
    sample = Sample(1, 1, tuple(site(name) for name in odd), (), ())
    metrics = [name for name in layer_metrics(sample) if "/positive/" in name]
    assert len(metrics) == len(odd)
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", name) for name in metrics)


def test_evidence_cannot_break_the_table():
    alarm = Alarm("dead-units", "a|b", 3, 1, "x | y")
    header, rule, row = alarm_table([alarm]).splitlines()
    assert header.count("|") == rule.count("|") == 7
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


def slopes_of(step, **values):
    """Return a sample of layers with one slope each."""
    moves = dict.fromkeys(("gradient", "signal_to_noise", "update", "update_ratio", "against_weights", "from_start"))
    layers = (SlopeSample(name, summarise(torch.tensor([value])), **moves) for name, value in values.items())
    return Sample(step, 1, (), tuple(layers), ())


def test_picture_has_a_cell_where_it_belongs():
    slopes = SlopeMap()
    slopes.add(slopes_of(1, a=0.25, b=math.nan))
    slopes.add(slopes_of(51, a=-1.0))
    picture = slopes.picture()
    first, second = picture.width - 600, picture.width - 100
    grey = picture.getpixel((first, 40))
    assert max(grey) - min(grey) < 30
    assert picture.getpixel((second, 40)) == (8, 71, 138)
    assert (picture.getpixel((first, 80)), picture.getpixel((second, 80))) == ((196, 20, 155), (255, 255, 255))


def test_slopes_apart_have_colours_apart():
    slopes = SlopeMap()
    for step, value in enumerate((-0.5, 0.0, 0.5, 1.5, math.nan), start=1):
        slopes.add(slopes_of(step, a=value))
    picture = slopes.picture()
    colours = {picture.getpixel((picture.width - 616 + 128 * cell, 40)) for cell in range(5)}
    assert len(colours) == 5


def test_pictures_become_rarer():
    slopes = SlopeMap()
    due = [number for number, sample in enumerate(synthetic_recording(samples=170).samples, 1) if slopes.add(sample)]
    assert due == [10, 20, 40, 80, 160]
    assert slopes.picture() is not None


def test_no_slopes_no_picture():
    slopes = SlopeMap()
    assert not any(slopes.add(sample) for sample in synthetic_recording(slopes=False, samples=30).samples)
    assert slopes.picture() is None


@pytest.mark.parametrize(
    ("make", "missing"),
    [(lambda: TensorBoard("runs"), "tensorboard"), (MLflow, "mlflow"), (WandB, "wandb")],
    ids=["tensorboard", "mlflow", "wandb"],
)
def test_a_missing_library_names_its_extra(monkeypatch, make, missing):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # as Python's import has it for a module that is not there
    with pytest.raises(ModuleNotFoundError, match=rf"needs '{missing}': pip install 'slopewise\[trackers\]'"):
        make()
