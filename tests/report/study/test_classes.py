"""Scores of each class on the page."""

import re
from dataclasses import replace

from slopewise.records import ScoreRecord, class_metric
from slopewise.report import render_html
from slopewise.testing import synthetic_study


def with_recall(study, values):
    """Record the recall of classes, by arm and class, in every trial."""

    def scored(trial):
        rows = [ScoreRecord(None, "test", class_metric("recall", k), v) for k, v in values[trial.arm].items()]
        return replace(trial, scores=(*trial.scores, *rows))

    return replace(study, trials=tuple(map(scored, study.trials)))


def table_of(page):
    """Cells of the table of classes, by row."""
    details = page.split("Recall of each class</summary>")[1].split("</details>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", details.split("<tbody>")[1], re.DOTALL)
    return [[re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_a_row_for_each_class_and_arm_with_its_mean_and_difference():
    study = synthetic_study(("relu", "elu"), seeds=2, epochs=2, diverged={"elu": 1})
    study = with_recall(study, {"relu": {0: 0.5, 3: 0.25}, "elu": {0: 0.75, 3: 0.25}})
    names = study.data["classes"]
    rows = table_of(render_html(study))
    assert rows == [
        [names[0], "relu", "50.0", "0.0"],
        [names[0], "elu", "75.0", "+25.0"],
        [names[3], "relu", "25.0", "0.0"],
        [names[3], "elu", "25.0", "0.0"],
    ]
    counted = replace(study, data=study.data | {"test_images_by_class": list(range(20, 30))})
    assert [row[1] for row in table_of(render_html(counted))] == ["20", "20", "23", "23"]


def test_pages_without_such_scores_have_no_table():
    assert "of each class</summary>" not in render_html(synthetic_study(("relu", "elu"), seeds=2, epochs=2))


def test_of_many_classes_those_of_the_lowest_values_are_shown():
    study = synthetic_study(("relu", "elu"), seeds=2, epochs=2, classes=150)
    recall = {k: 1 - k / 200 for k in range(150)}
    page = render_html(with_recall(study, {"relu": recall, "elu": recall}))
    shown = [row[0] for row in table_of(page)]
    assert shown[::2] == study.data["classes"][50:]
    assert "50 classes with higher values of relu are left out" in page.replace("\u00a0", " ")
