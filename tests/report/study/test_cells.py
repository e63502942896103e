"""Views of a study's other cells, compared with its records: sensitivity maps, effect against factor, tuning."""

import math
import re
from dataclasses import replace
from statistics import fmean

import pytest

from slopewise.analysis import analyse, tuning
from slopewise.report import render_html, study_info
from slopewise.report.study.charts import factor_chart, map_charts, tuning_charts
from slopewise.report.study.info import factor_infos, map_info, tuning_rows
from slopewise.testing import replace_score, synthetic_study, with_cells

RATES = (3.0, 0.01, 0.1)
SMALL = with_cells(
    synthetic_study(("relu", "elu", "prelu_shared"), seeds=4, epochs=2, effects={"prelu_shared": 3.0}),
    lr=RATES,
    init=(0.25, 0.0),
    factors={"train.epochs": [8, 1], "model.options.batch_norm": [True]},
    seeds=6,
)


def mean_accuracy(study, arm, rate, slope=None):
    """Return the mean test accuracy in a cell of the map, diverged trials at 10 %."""
    settings = {"train.lr": rate} | ({} if slope is None else {"arm.options.init": slope})
    (cell,) = (cell for cell in study.cells_of("map") if cell.settings == settings)
    scores = [trial.score("test", "accuracy") for trial in cell.trials if trial.arm == arm]
    return fmean(10.0 if score is None else 100 * score for score in scores)


def test_a_map_has_the_mean_score_of_every_cell_on_one_scale():
    info = map_info(SMALL)
    assert info.rates == (0.01, 0.1, 3.0)
    assert [(arm.arm, arm.slopes) for arm in info.arms] == [
        ("relu", (None,)),
        ("elu", (None,)),
        ("prelu_shared", (0.0, 0.25)),
    ]
    for arm in info.arms:
        for (slope, rate), spot in arm.spots.items():
            assert spot.mean == pytest.approx(mean_accuracy(SMALL, arm.arm, rate, slope))
            assert spot.shortfall == pytest.approx(info.best - spot.mean)
    assert info.best == max(spot.mean for arm in info.arms for spot in arm.spots.values())
    bars = {
        (trace.zmin, trace.zmax, str(trace.colorscale), str(trace.colorbar.ticktext))
        for chart in map_charts(SMALL)
        for trace in chart.figure.data
        if trace.showscale is not False
    }
    assert len(bars) == 1


def test_a_map_marks_what_diverged():
    relu = map_charts(SMALL)[0]
    assert relu.columns == ("arm", "learning rate 0.01", "learning rate 0.1", "learning rate 3")
    assert relu.rows[0][-1] == "10.00 (6 of 6 diverged)"
    values, lost = relu.figure.data
    assert values.z[0][2] is None
    assert list(lost.z[0]) == [None, None, 1]
    assert (values.text[0][2], lost.text[0][2]) == ("", "10.0<br>×6/6")
    cells = tuple(
        replace(cell, trials=tuple(t for t in cell.trials if t.seed or t.arm != "relu")) for cell in SMALL.cells
    )
    assert map_charts(replace(SMALL, cells=cells))[0].rows[0][-1] == "10.00 (5 of 5 diverged)"


def test_the_best_of_a_loss_is_the_lowest():
    loss = replace(SMALL, metrics=(SMALL.metrics[1],))
    info = map_info(loss)
    spots = [spot for arm in info.arms for spot in arm.spots.values()]
    assert info.best == min(spot.mean for spot in spots if spot.mean is not None)
    assert [spot.mean for spot in spots if spot.diverged] == [None, None]  # a loss has no value of chance
    assert map_charts(loss)[0].rows[0][-1] == "– (6 of 6 diverged)"


def test_a_factor_has_the_contrasts_of_each_value_and_of_the_study():
    epochs, norm = factor_infos(SMALL, analyse(SMALL))
    assert [(level.name, level.own) for level in epochs.levels] == [("1", False), ("2", True), ("8", False)]
    assert [(level.name, level.own) for level in norm.levels] == [("as in the study", True), ("true", False)]
    assert epochs.arms == ("elu", "prelu_shared")
    assert epochs.levels[1].contrasts == {contrast.arm: contrast for contrast in analyse(SMALL).primary}
    (cell,) = (cell for cell in SMALL.cells if cell.settings == {"train.epochs": 8})
    scores = {(trial.arm, trial.seed): 100 * trial.score("test", "accuracy") for trial in cell.trials}
    differences = [scores["prelu_shared", seed] - scores["relu", seed] for seed in range(6)]
    assert epochs.levels[2].contrasts["prelu_shared"].differences == pytest.approx(differences)


def test_a_factor_is_drawn_with_intervals_over_the_margin():
    (info, _) = factor_infos(SMALL, analyse(SMALL))
    chart = factor_chart(info, SMALL)
    band = next(shape for shape in chart.figure.layout.shapes if shape.type == "rect")
    assert (band.y0, band.y1) == (-0.5, 0.5)
    lines, bars = chart.figure.data[2:]  # of prelu_shared
    contrasts = [level.contrasts["prelu_shared"] for level in info.levels]
    assert lines.y == tuple(contrast.difference for contrast in contrasts)
    for contrast, y, up, down in zip(contrasts, bars.y, bars.error_y.array, bars.error_y.arrayminus, strict=True):
        assert (y - down, y + up) == pytest.approx(contrast.interval)
    assert [row[0] for row in chart.rows] == ["1", "2 (the study)", "8"]


def test_a_mean_far_beyond_the_others_is_an_arrow_at_the_edge():
    study = with_cells(
        synthetic_study(("relu", "elu"), seeds=6, epochs=2, diverged={"elu": 5}), factors={"train.epochs": [3]}, seeds=6
    )
    (info,) = factor_infos(study, analyse(study))
    chart = factor_chart(info, study)
    low, high = chart.figure.layout.yaxis.range
    assert high - low < 10
    lines, bars = chart.figure.data
    assert lines.y[0] is None
    assert (bars.y[0], bars.marker.symbol[0], bars.marker.size) == (low, "arrow-down", (14, 0))
    assert "5 of 6 diverged" in chart.rows[0][1]


def test_factors_of_arms_have_the_arms_own_value():
    arms = [{"name": arm, "activation": arm, "options": {"init": 0.1}} for arm in SMALL.arms]
    study = with_cells(replace(SMALL, spec=SMALL.spec | {"arms": arms}), factors={"arm.options.init": [0.0]})
    (info,) = factor_infos(study, analyse(study))
    assert [level.name for level in info.levels] == ["0.0", "0.1"]
    arms[2] = {**arms[2], "options": {"init": 0.2}}
    (info,) = factor_infos(replace(study, spec=study.spec | {"arms": arms}), analyse(study))
    assert [level.name for level in info.levels] == ["as in the study", "0.0"]


def test_pages_have_the_sections_of_cells_with_trials(parse):
    page = parse(render_html(SMALL))
    titles = [word for word in study_info(SMALL).sections if word in ("factors", "map")]
    assert titles == ["factors", "map"]
    text = " ".join(page.text.split())
    assert "Effect under other settings" in text
    assert "its number is the mean test accuracy in % over the seeds there" in text
    empty = replace(SMALL, cells=tuple(replace(cell, trials=()) for cell in SMALL.cells))
    assert not {"factors", "map"} & set(study_info(empty).sections)


def test_cells_without_a_result_yet_have_no_charts(parse):
    def failed(trial):
        return replace(replace_score(trial, "test", "accuracy", None), status="failed", diverged_step=None, scores=())

    cells = tuple(replace(cell, trials=tuple(map(failed, cell.trials))) for cell in SMALL.cells)
    study = replace(SMALL, cells=cells)
    assert map_info(study) is None
    assert factor_infos(study, analyse(study)) == ()
    text = " ".join(parse(render_html(study)).text.split())
    assert "No trial of the map has a result yet." in text
    assert "No other setting has results for both an arm and relu yet." in text


def test_a_margin_away_is_a_doubling_of_colour():
    prelu = map_charts(SMALL)[2]
    info = map_info(SMALL)
    spots = info.arms[2].spots
    z = prelu.figure.data[0].z
    assert z[1][1] == pytest.approx(math.log2(1 + spots[0.0, 0.1].shortfall / 0.5), rel=1e-3)


TRIED = (0.1, 0.05, 5.0, 0.01)
TUNED = with_cells(synthetic_study(("relu", "prelu_shared"), seeds=4, epochs=2), tune=TRIED, seeds=2)


def validated(arm, rate):
    """Return the mean validation accuracy of an arm at a rate, diverged trials at 10 %."""
    (cell,) = (cell for cell in TUNED.cells_of("tune") if cell.settings == {"train.lr": rate})
    scores = [None if t.diverged else t.score("validation", "accuracy") for t in cell.trials if t.arm == arm]
    return fmean(10.0 if score is None else 100 * score for score in scores)


def test_the_best_score_so_far_is_drawn_in_the_order_of_the_rates():
    best, rates = tuning_charts(TUNED)
    for trace, arm in zip(best.figure.data, ("relu", "prelu_shared"), strict=True):
        scores = [validated(arm, rate) for rate in TRIED]
        assert trace.x == (1, 2, 3, 4)
        assert trace.y == pytest.approx([max(scores[: n + 1]) for n in range(4)])
    assert [row[1] for row in best.rows] == ["0.1", "0.05", "5", "0.01"]
    for trace, arm in zip(rates.figure.data, ("relu", "prelu_shared"), strict=True):
        assert trace.x == (0.01, 0.05, 0.1, 5.0)
        assert trace.y == pytest.approx([validated(arm, rate) for rate in trace.x])
    assert rates.rows[-1][1] == "10.00 (2 diverged)"


def test_the_table_has_each_tuned_rate_and_says_if_it_is_at_an_edge(parse):
    relu, prelu = tuning_rows(TUNED, tuning(TUNED))
    chosen = max(TRIED, key=lambda rate: validated("relu", rate))
    assert relu == ("relu", f"{chosen:g}", f"{validated('relu', chosen):.2f}", "5", "")
    assert prelu[3:] == ("none", "")
    edge = with_cells(synthetic_study(("relu", "elu"), seeds=2, epochs=1), tune=[0.01, 0.02, 0.05])
    html = render_html(edge)
    assert "the highest rate that was tried: a better rate may lie beyond it" in html
    assert re.search(r'<h2 id="tuning">', html)
    assert "Tuning" in study_info(edge).sections.values()


def test_tuning_without_a_score_yet_has_no_charts(parse):
    empty = replace(TUNED, cells=tuple(replace(cell, trials=()) for cell in TUNED.cells))
    assert tuning_charts(empty) == []
    assert "tuning" not in study_info(empty).sections
    trials = [tuple(replace(t, status="failed", error="x", scores=()) for t in cell.trials) for cell in TUNED.cells]
    failed = replace(TUNED, cells=tuple(replace(c, trials=t) for c, t in zip(TUNED.cells, trials, strict=True)))
    assert "No learning rate has a score yet." in parse(render_html(failed)).text
