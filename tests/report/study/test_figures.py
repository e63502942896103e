"""Charts of a study, compared with its records."""

import statistics
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from slopewise.analysis import curves
from slopewise.report import study_info
from slopewise.report.study.charts import (
    StudyCharts,
    cost_chart,
    curve_chart,
    difference_chart,
    gradient_chart,
    slope_charts,
)
from slopewise.report.study.info import slope_paths, slope_table
from slopewise.testing import synthetic_study, with_cells


def chart_of(study):
    return difference_chart(study_info(study))


def dots(chart, lane):
    """Return the dots of the seeds in one lane: (axis, x, symbol)."""
    return [
        (trace.xaxis or "x", x, symbol)
        for trace in chart.figure.data
        if isinstance(trace.marker.symbol, tuple) and all(lane + 0.35 < y < lane + 0.72 for y in trace.y)
        for x, symbol in zip(trace.x, trace.marker.symbol, strict=True)
    ]


def test_every_seed_has_its_dot_at_its_difference():
    study = synthetic_study(("relu", "elu", "silu"), seeds=7, epochs=1)
    chart = chart_of(study)
    accuracy = {(trial.arm, trial.seed): 100 * trial.score("test", "accuracy") for trial in study.trials}
    for lane, arm in enumerate(("elu", "silu")):
        drawn = dots(chart, lane)
        expected = [accuracy[arm, seed] - accuracy["relu", seed] for seed in study.seeds]
        assert [x for _, x, _ in drawn] == pytest.approx(expected)
        assert {symbol for _, _, symbol in drawn} == {"circle"}


def test_diverged_seeds_stand_in_a_strip_and_leave_the_scale_to_the_others():
    study = synthetic_study(("relu", "elu", "silu"), seeds=8, epochs=1, diverged={"elu": 3})
    chart = chart_of(study)
    drawn = dots(chart, 0)
    assert [axis for axis, _, symbol in drawn if symbol == "x-thin"] == ["x2"] * 3
    assert [axis for axis, _, symbol in drawn if symbol == "circle"] == ["x"] * 5
    low, high = chart.figure.layout.xaxis.range
    assert high - low < 10
    assert "3 off scale" in [note.text for note in chart.figure.layout.annotations]
    assert chart.rows[0][1].endswith("(diverged)")
    assert chart.rows[0][1].startswith("−8")


def test_a_diverged_control_lies_on_the_other_side_and_a_double_loss_nowhere():
    study = synthetic_study(("relu", "elu"), seeds=8, epochs=1, diverged={"relu": 2, "elu": 1})
    drawn = dots(chart_of(study), 0)
    assert len(drawn) == 7  # seed 0, in which both diverged, is no pair
    assert [axis for axis, _, symbol in drawn if symbol == "x-thin"] == ["x3"]


def test_equal_differences_do_not_hide_each_other():
    study = synthetic_study(("relu", "again"), seeds=10, epochs=1)
    control = {trial.seed: trial for trial in study.trials if trial.arm == "relu"}
    copies = tuple(replace(control[trial.seed], arm=trial.arm) for trial in study.trials)
    chart = chart_of(replace(study, trials=copies))
    (trace,) = (t for t in chart.figure.data if isinstance(t.marker.symbol, tuple))
    assert set(trace.x) == {0.0}
    assert len(set(trace.y)) == 10
    assert max(trace.y) - min(trace.y) < 0.3


@pytest.mark.parametrize("key", ["score", "late-score", "train-loss", "validation-loss", "never-positive"])
def test_curves_draw_the_analysis_means(key):
    study = synthetic_study(("relu", "prelu_shared"), seeds=4, epochs=6)
    chart = curve_chart(study, key)
    value = key.removeprefix("late-").replace("-", "_")
    expected = curves(study, {"score": "validation_accuracy"}.get(value, value))
    lines = {trace.name: trace for trace in chart.figure.data if trace.name}
    for arm, curve in expected.items():
        start = 3 if key.startswith("late") else 0
        assert lines[arm].x == curve.epochs[start:]
        assert lines[arm].y == pytest.approx(curve.mean[start:])
    assert len(chart.rows) == len(next(iter(lines.values())).x)


def test_a_band_below_zero_is_cut_on_a_logarithmic_axis():
    study = synthetic_study(("relu",), seeds=2, epochs=2)
    spread = [
        replace(
            trial,
            scores=tuple(
                replace(row, value=(0.01, 2.0)[trial.seed]) if (row.part, row.metric) == ("train", "loss") else row
                for row in trial.scores
            ),
        )
        for trial in study.trials
    ]
    chart = curve_chart(replace(study, trials=tuple(spread)), "train-loss")
    assert all(y > 0 for trace in chart.figure.data for y in trace.y)


def test_slopes_are_medians_and_extremes_over_converged_seeds():
    study = synthetic_study(("relu", "prelu_channel"), seeds=5, epochs=3, diverged={"prelu_channel": 2})
    charts = slope_charts(study)
    assert [chart.title for chart in charts] == [f"act{k}" for k in range(1, 7)]
    band, *edges, line = charts[0].figure.data
    assert [*edges[1].y, *reversed(edges[0].y)] == list(band.y)
    converged = [t for t in study.trials if t.arm == "prelu_channel" and not t.diverged]
    sites = {(t.seed, s.epoch): s for t in converged for s in t.sites if s.layer == "act1"}
    for epoch in range(4):
        of_epoch = [sites[t.seed, epoch] for t in converged]
        assert line.y[epoch] == pytest.approx(np.median([s.slope_median for s in of_epoch]))
        assert band.y[epoch] == max(s.slope_max for s in of_epoch)  # the band runs along its upper edge, then back
        assert band.y[-1 - epoch] == min(s.slope_min for s in of_epoch)
    assert len(slope_table(slope_paths(study))) == 6


def test_cost_is_the_ratio_to_the_control_in_the_same_seed():
    study = synthetic_study(("relu", "prelu_shared"), seeds=5, epochs=2)
    chart = cost_chart(study_info(study))
    time = {(trial.arm, trial.seed): trial.seconds_per_step for trial in study.trials}
    ratios = [time["prelu_shared", seed] / time["relu", seed] for seed in study.seeds]
    bar, points = chart.figure.data[-2:]
    assert bar.x == pytest.approx([statistics.median(ratios)])
    assert sorted(points.x) == pytest.approx(sorted(ratios))
    assert chart.figure.layout.xaxis.rangemode == "tozero"
    assert chart.rows[5] == ("median", f"{statistics.median(ratios):.2f}")


def test_a_lighter_bar_is_the_cost_with_stock_pytorch():
    study = synthetic_study(("relu", "prelu_shared", "elu", "prelu_channel"), seeds=3, epochs=2)
    info = study_info(study)
    chart = cost_chart(info)
    bars = [trace for trace in chart.figure.data if trace.type == "bar"]
    expected = []
    for arm in info.analysis.arms:
        stock = {"prelu_shared": 1.2, "prelu_channel": 1.25}.get(arm.arm)
        expected += [(stock * arm.cost_ratio, True)] if stock else []
        expected += [(arm.cost_ratio, False)]
    assert [(bar.x[0], bar.marker.opacity < 0.3) for bar in bars] == [
        (pytest.approx(x), light) for x, light in expected
    ]
    shared, channel = (f"{x:.2f}" for x, light in expected if light)
    words = [note.text for note in chart.figure.layout.annotations if "stock" in note.text]
    assert words == [f"{shared}× with stock PyTorch", f"{channel}× with stock PyTorch"]
    assert chart.rows[-1] == ("with stock PyTorch", shared, "–", channel)
    # Bars lie in their own lanes, one below the other.
    lines = [shape.y0 for shape in chart.figure.layout.shapes if shape.xref == "x domain"]
    edges = [*lines, chart.figure.layout.yaxis.range[0]]
    spans = [(bar.y[0] - bar.width / 2, bar.y[0] + bar.width / 2) for bar in sorted(bars, key=lambda bar: bar.y[0])]
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
    assert [sum(top < low and high < bottom for low, high in spans) for top, bottom in pairwise(edges)] == [1, 2, 1, 2]


def test_without_a_comparison_there_is_one_bar_an_arm():
    study = synthetic_study(("relu", "prelu_shared"), seeds=3, epochs=2)
    trials = tuple(replace(t, operator_costs=()) for t in study.trials)
    chart = cost_chart(study_info(replace(study, trials=trials)))
    assert sum(trace.type == "bar" for trace in chart.figure.data) == 2
    assert [row[0] for row in chart.rows] == ["0", "1", "2", "median"]


def test_gradients_are_of_the_last_epoch():
    study = synthetic_study(("relu", "elu"), seeds=3, epochs=2)
    chart = gradient_chart(study)
    last = [g.norm for t in study.trials if t.arm == "elu" for g in t.gradients if g.epoch == 2 and g.layer == "conv3"]
    elu = next(trace for trace in chart.figure.data if trace.name == "elu")
    assert elu.x[2] == pytest.approx(statistics.median(last))


def test_nothing_to_draw_is_none():
    empty = replace(synthetic_study(seeds=2, epochs=1), trials=())
    assert chart_of(empty) is cost_chart(study_info(empty)) is gradient_chart(empty) is None
    assert curve_chart(empty, "score") is None
    assert slope_charts(empty) == []


def test_one_seed_has_no_interval_to_speak_of():
    study = synthetic_study(("relu", "elu"), seeds=1, epochs=2)
    chart = curve_chart(study, "score")
    assert not any("[" in text for trace in chart.figure.data for text in trace.hovertext or ())
    assert not any("[" in cell for row in chart.rows for cell in row)


def test_bands_stop_at_what_can_be_but_tables_have_them_whole():
    study = synthetic_study(("relu", "elu"), seeds=3, epochs=4)
    chart = curve_chart(study, "never-positive")
    assert min(curves(study, "never_positive")["relu"].low) < 0
    assert min(y for trace in chart.figure.data for y in trace.y) == 0
    assert any("[−" in cell for row in chart.rows for cell in row)


def test_arms_with_the_same_line_share_its_markers_and_a_sentence_names_them():
    study = synthetic_study(("relu", "elu", "prelu_shared"), seeds=2, epochs=4)
    chart = curve_chart(study, "zero-gradient")
    assert chart.note == "elu and prelu_shared are at 0 % throughout."
    sizes = {trace.name: trace.marker.size for trace in chart.figure.data if trace.name}
    marked = [{k for k, size in enumerate(sizes[arm]) if size} for arm in sizes]
    assert marked == [{0, 1, 2, 3, 4}, {0, 2, 4}, {1, 3}]
    assert chart.figure.layout.yaxis.range[0] < 0  # so that the axis hides no line at 0
    assert curve_chart(study, "score").note == ""


@pytest.mark.parametrize("name", ["default", "designs"])
def test_every_axis_with_ticks_has_a_name(name):
    study = synthetic_study(seeds=4, epochs=2)
    if name == "designs":
        study = with_cells(study, tune=[0.1, 0.01], lr=[0.01, 0.1], factors={"train.epochs": [2]})
    charts = StudyCharts(study_info(study))
    drawn = [
        *charts.curves("score", "train-loss"),
        *charts.slopes(),
        *charts.maps(),
        *charts.factors(),
        *charts.tuning(),
    ]
    drawn += [*charts.factors(), *charts.tuning()]
    for chart in (*drawn, charts.cost(), charts.gradients(), charts.differences()):
        layout = chart.figure.layout
        assert layout.xaxis.title.text
        above = [note.text for note in layout.annotations if note.yanchor == "bottom" and note.xref == "paper"]
        assert layout.yaxis.showticklabels is False or layout.yaxis.title.text or above
    assert "ratio" in charts.cost().figure.layout.xaxis.title.text
