"""Page of a study with many trials: bounded in size, and right in what it counts."""

import pytest

from slopewise.drawing import listing
from slopewise.records import StudyRecord
from slopewise.report import ledger_info, render_html, study_info
from slopewise.report.study.charts import StudyCharts
from slopewise.testing import synthetic_study

ARMS = ("relu", "prelu_shared")


@pytest.fixture(scope="module")
def many() -> StudyRecord:
    return synthetic_study(
        ARMS, 700, epochs=1, effects={"prelu_shared": 0.3}, diverged={"prelu_shared": 250}, failed={"relu": 120}
    )


def marks(study: StudyRecord) -> int:
    """Count the marks of all charts of a study."""
    charts = StudyCharts(study_info(study))
    drawn = [charts.differences(), charts.cost(), charts.gradients(), *charts.slopes(), *charts.curves("score")]
    return sum(len(trace.x or ()) for chart in drawn if chart for trace in chart.figure.data)


def test_neither_marks_nor_bytes_grow_with_the_seeds(many):
    few = synthetic_study(ARMS, 350, epochs=1)
    assert marks(synthetic_study(ARMS, 300, epochs=1)) > 600  # up to 300 seeds, each has its dot
    assert marks(few) < 400
    assert marks(many) < 400
    sizes = [len(render_html(study)) for study in (few, synthetic_study(ARMS, 1050, epochs=1))]
    assert sizes[1] - sizes[0] < 13_000


def test_bars_count_every_seed_once(many):
    info = study_info(many)
    chart = StudyCharts(info).differences()
    (contrast,) = info.analysis.primary
    bars = [trace for trace in chart.figure.data if trace.type == "bar"]
    drawn = sum(int(text.split(": ")[1].split()[0]) for trace in bars for text in dict.fromkeys(trace.hovertext))
    beyond = sum(int(note.text.split()[0]) for note in chart.figure.layout.annotations if "off scale" in note.text)
    assert drawn + beyond == len(contrast.seeds) == sum(int(row[1]) for row in chart.rows)
    assert beyond > 100  # the diverged seeds that count as chance
    heights = sum(-height for trace in bars for height in trace.y)
    assert heights == pytest.approx(drawn * -bars[0].y[0] / int(bars[0].hovertext[0].split(": ")[1].split()[0]))


def test_bins_of_the_table_hold_the_differences_that_they_name(many):
    info = study_info(many)
    chart = StudyCharts(info).differences()
    for words, count in chart.rows[1:-1]:
        low, high = (float(end.replace("−", "-")) for end in words.split(" to "))
        inside = [d for d in info.analysis.primary[0].differences if low - 0.006 <= d <= high + 0.006]
        assert len(inside) >= int(count) > 0


def test_lists_of_trials_are_cut_and_say_so(many):
    page = render_html(many).replace("\u00a0", " ")
    assert "50 more diverged trials: <code>slopewise export</code> writes all of them." in page
    assert "70 more failed trials: <code>slopewise export</code>" in page
    assert page.count("RuntimeError: worker died") == 50
    assert "prelu_shared</b>: 250 of 700 seeds (0 to 249)" in page
    assert "Seeds: 0 to 699." in page
    tested = ledger_info(synthetic_study(("relu", "prelu_channel"), 150, epochs=1)).tested
    assert {(len(claim.trials), claim.behind) for claim in tested if claim.behind > 150} == {(200, 300)}


def test_quantiles_replace_the_dots_of_step_times(many):
    chart = StudyCharts(study_info(many)).cost()
    assert [row[0] for row in chart.rows] == ["5 %", "25 %", "75 %", "95 %", "median", "with stock PyTorch"]
    assert [row[1] for row in chart.rows[:4]] == sorted(row[1] for row in chart.rows[:4])


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (range(41), "0 to 40"),
        (range(40), ", ".join(map(str, range(39))) + " and 39"),
        ([*range(5), 7, 8, *range(50, 100)], "0 to 4, 7, 8 and 50 to 99"),
        (range(0, 200, 2), ", ".join(map(str, range(0, 78, 2))) + " and 61 more"),
        ([f"s{k}" for k in range(60)], ", ".join(f"s{k}" for k in range(39)) + " and 21 more"),
    ],
)
def test_long_lists_have_ranges_or_an_end(items, words):
    assert listing(items) == words
