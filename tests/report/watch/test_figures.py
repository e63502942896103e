"""Charts of a watched run as data: the right value in the right cell, for runs of all kinds."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.drawing import Scale
from slopewise.monitor import Alarm, Header, LayerSample, Recording, Sample, SiteSample, SlopeSample
from slopewise.report.watch.charts import SCALES, watch_charts
from slopewise.report.watch.info import thinned, watch_maps
from slopewise.slopes import summarise
from slopewise.testing import synthetic_recording


def site(name, never=(), always=(), zero=(), units=8, **more):
    return SiteSample(name, "relu", units, 100, 0.5, never, always, zero, 0.7, **more)


def slopes(name, *values, **more):
    fields = dict.fromkeys(("gradient", "signal_to_noise", "update", "update_ratio", "against_weights", "from_start"))
    return SlopeSample(name, summarise(torch.tensor(values, dtype=torch.float64)), **{**fields, **more})


def run(*samples, alarms=()):
    """Return a recording with samples of steps 1, 11, ... from triples of sites, slopes and layers."""
    return Recording(
        Header("Net", 10, 0.0), tuple(Sample(1 + 10 * k, 1, *map(tuple, s)) for k, s in enumerate(samples)), alarms
    )


def charts(recording):
    return {chart.key: chart for section in watch_charts(recording) for chart in section.charts}


def labels(chart):
    return list(chart.figure.layout.yaxis.ticktext)


def grid(chart, trace=0):
    return [list(row) for row in chart.figure.data[trace].z]


def test_shares_of_units_stand_in_the_row_of_their_site_and_the_column_of_their_step():
    recording = run(
        ([site("a"), site("b", never=(0,), zero=(0,))], [], []),
        ([site("a"), site("b", never=(0, 1, 2), zero=(1, 2, 3))], [], []),
    )
    drawn = charts(recording)
    assert labels(drawn["dead"]) == ["a", "b"]
    assert list(drawn["dead"].figure.data[0].x) == [1, 11]
    assert grid(drawn["dead"]) == [[0, 0], [1 / 8, 2 / 8]]
    assert grid(drawn["zero-gradient"]) == [[0, 0], [1 / 8, 3 / 8]]
    assert grid(drawn["never-positive"]) == [[0, 0], [1 / 8, 3 / 8]]
    assert "always-positive" not in drawn
    assert drawn["dead"].columns == ("layer", "step 1", "step 11")
    assert drawn["dead"].rows[1] == ("b", "12 %", "25 %")
    assert "2 of 8 units dead" in drawn["dead"].figure.data[0].hovertext[1][1]
    assert watch_charts(recording)[0].notes == ("At none of the steps drawn is a unit always positive.",)


def test_the_input_is_at_the_top():
    axis = charts(synthetic_recording(layers=4))["dead"].figure.layout.yaxis
    assert axis.range[0] > axis.range[1]
    assert axis.ticktext[0] == "block0.act"


def test_a_map_is_plain_data_with_colours():
    maps = watch_maps(run(([site("a", never=(0,), zero=(0,)), site("b")], [slopes("a", -0.5)], [])))
    assert set(maps) == set(SCALES)
    dead = maps["dead"]
    assert [(cell.row, cell.value, cell.hover) for cell in dead.columns[1]] == [
        ("a", 1 / 8, "1 of 8 units dead"),
        ("b", 0, "0 of 8 units dead"),
    ]
    assert [key for key, info in maps.items() if info.all_zero] == ["always-positive"]  # not what was never measured
    assert [cell.value for cell in maps["slopes"].columns[1]] == [-0.5]


def test_unknown_values_are_blank_instead_of_none():
    recording = run(([site("a", zero=None)], [], []))
    drawn = charts(recording)
    assert "dead" not in drawn
    assert "dead" not in watch_charts(recording)[0].notes[0]
    both = charts(run(([site("a", zero=None), site("b", never=(1,), zero=(1,))], [], [])))["dead"]
    assert grid(both) == [[None], [1 / 8]]
    assert both.rows[0] == ("a", "–")


def test_values_that_are_not_finite_have_a_colour_of_their_own():
    nan = math.nan
    recording = run(
        (
            [site("a", not_finite=(1, 2))],
            [slopes("a", 0.2, nan), slopes("b", 0.3, from_start=0.1)],
            [LayerSample("c", None, 1.0, 0.1, ("gradient",)), LayerSample("d", 0.5, 1.0, 0.1)],
        )
    )
    by_key = charts(recording)
    for key, rows in (("dead", 1), ("slopes", 2), ("distance", 2), ("gradients", 2)):
        drawn, lost = by_key[key].figure.data[:2]
        assert lost.colorscale[0][1] == "var(--lost)"
        assert [list(row) for row in lost.z] == [[1]] + [[None]] * (rows - 1), key
        assert drawn.z[0][0] is None
    assert "2 of 8 units NaN or infinite" in by_key["dead"].figure.data[1].hovertext[0][0]


def test_slopes_are_coloured_by_their_median_with_the_rest_under_the_pointer():
    values = (-0.5, 0.0, 0.25, 0.5, 1.5)
    chart = charts(run(([], [slopes("act", *values)], [])))["slopes"]
    assert grid(chart) == [[0.25]]
    hover = chart.figure.data[0].hovertext[0][0]
    for words in (
        "median 0.250",
        "middle half 0.000 to 0.500",
        "all −0.500 to 1.500",
        "1 negative, 1 near 0 and 1 above 1",
    ):
        assert words in hover


@given(st.floats(-5, 5, allow_nan=False))
def test_the_colour_of_a_slope_shows_its_band(value):
    """Blue below 0, grey from 0 to 1, orange above 1, as read off the scale at the position that is drawn."""
    scale = SCALES["slopes"]
    place = scale.place(value)
    colour = next(colour for stop, colour in reversed(scale.stops) if stop <= place)
    kind = "cold" if value < -0.0101 else "warm" if value > 1.051 else "calm" if -0.0099 < value < 1.049 else None
    assert kind is None or colour.startswith(kind)


def test_one_unit_of_thousands_is_visible():
    scale = SCALES["dead"]
    assert scale.place(1 / 4096) > scale.stops[2][0]
    assert scale.stops[2][1] != scale.stops[0][1]
    assert scale.place(0.0) == 0


def test_logarithmic_scales_end_at_their_ends():
    scale = Scale(((-3, "a"), (1, "b")), (), log=True)
    assert [scale.place(value) for value in (0.0, 1e-9, 0.01, 1.0, 1e9)] == [-3, -3, -2, 0, 1]
    assert scale.colours() == [[0, "var(--a)"], [1, "var(--b)"]]


def test_gradients_are_coloured_by_their_share_of_the_steps_largest():
    layers = [
        LayerSample("low", 1e-6, 1.0, None),
        LayerSample("zero", 0.0, 1.0, None),
        LayerSample("top", 10.0, 1.0, None),
    ]
    drawn = charts(run(([], [], layers), ([], [], [replace(layer, gradient=layer.gradient * 7) for layer in layers])))
    assert grid(drawn["gradients"]) == [[-6, -6], [-6, -6], [0, 0]]
    assert drawn["gradients"].rows[0] == ("low", "1.0e-06", "7.0e-06")
    assert "updates" not in drawn
    profile = drawn["gradient-profile"]
    assert profile.rows == (("low", "1.0e-06", "7.0e-06"), ("zero", "–", "–"), ("top", "10.0", "70.0"))
    assert [list(trace.x) for trace in profile.figure.data] == [[1e-6, 10.0], [7e-6, 70.0]]


def test_updates_are_over_the_weights():
    chart = charts(run(([], [], [LayerSample("fc", 1.0, 20.0, 0.02), LayerSample("held", 1.0, 20.0, None)])))["updates"]
    assert grid(chart) == [[-3], [None]]


def test_alarms_are_marked_since_when_they_hold_on_the_chart_they_are_about():
    recording = run(
        *[([site("a", never=(0,), zero=(0,)), site("b")], [slopes("a", 0.3)], [])] * 3,
        alarms=(
            Alarm("dead-units", "a", 21, 11, "one"),
            Alarm("slope-stuck", "a", 21, 1, "two"),
            Alarm("slope-tied", "a", 21, 1, "three"),
            Alarm("dead-units", "gone", 21, 1, "four"),
        ),
    )
    drawn = charts(recording)
    (mark,) = [trace for trace in drawn["dead"].figure.data if trace.type == "scatter"]
    assert (list(mark.x), list(mark.y)) == ([11], [0])
    assert "dead-units at a: one, since step 11" in mark.hovertext[0]
    (mark,) = [trace for trace in drawn["slopes"].figure.data if trace.type == "scatter"]
    assert (list(mark.x), list(mark.y)) == ([1], [0])
    assert mark.hovertext[0].count("<br>") == 1
    assert not [trace for trace in drawn["never-positive"].figure.data if trace.type == "scatter"]


def test_layers_that_come_and_go_keep_their_rows():
    recording = run(([site("a")], [], []), ([site("b", never=(1,), zero=(1,))], [], []), ([site("a")], [], []))
    chart = charts(recording)["dead"]
    assert labels(chart) == ["a", "b"]
    assert grid(chart) == [[0, None, 0], [None, 1 / 8, None]]


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 0, "samples": 0},
        {"layers": 1, "samples": 0},
        {"layers": 1, "samples": 1},
        {"layers": 1, "samples": 2, "slopes": False},
        {"layers": 3, "samples": 5, "diverged": True},
        {"layers": 12, "samples": 3, "finished": False},
    ],
)
def test_any_recording_gives_the_same_sections_of_strict_json(options):
    sections = watch_charts(synthetic_recording(**options))
    assert [section.key for section in sections] == ["units", "slopes", "gradients", "updates"]
    keys = [chart.key for section in sections for chart in section.charts]
    assert len(keys) == len(set(keys))
    for section in sections:
        for chart in section.charts:
            json.dumps(chart.figure.to_plotly_json(), allow_nan=False)
            assert all(len(row) == len(chart.columns) for row in chart.rows)
            assert chart.label


def test_a_long_and_deep_run_is_thinned_and_keeps_its_ends_and_its_alarms():
    short = synthetic_recording(layers=100, samples=10)
    samples = tuple(replace(short.samples[k // 500], step=1 + 50 * k) for k in range(5000))
    alarm = Alarm("dead-units", "block1.act", 100_051, 77_701, "")
    chart = charts(replace(short, samples=samples, alarms=(alarm,)))["dead"]
    steps = list(chart.figure.data[0].x)
    assert 40 <= len(steps) <= 60
    assert (steps[0], steps[-1]) == (1, 249_951)
    assert 77_701 in steps
    assert steps == sorted(set(steps))
    assert chart.figure.layout.height / 100 >= 15
    assert len(chart.columns) <= 8
    assert len(json.dumps(chart.figure.to_plotly_json())) < 1e6


@given(st.integers(0, 400), st.integers(0, 200))
def test_thinning_keeps_order_and_ends(count, rows):
    samples = [Sample(3 * k + 1, 1, (), (), ()) for k in range(count)]
    thinner = thinned(samples, rows)
    steps = [sample.step for sample in thinner]
    assert steps == sorted(set(steps))
    assert len(steps) <= 120
    if samples:
        assert thinner[0] is samples[0]
        assert thinner[-1] is samples[-1]


def test_names_of_layers_are_cut_and_inert():
    rows = [f"encoder.stages.3.blocks.{k}.act<b>" for k in range(3)]
    chart = charts(run(([site(name, never=(0,), zero=(0,)) for name in rows], [], [])))["dead"]
    assert labels(chart) == ["…0.act&lt;b&gt;", "…1.act&lt;b&gt;", "…2.act&lt;b&gt;"]
    assert [row[0] for row in chart.rows] == rows
