"""Protocol of a study as rows of text."""

from dataclasses import replace

from slopewise.report.study.info import protocol
from slopewise.testing import synthetic_study


def rows_of(facts):
    return dict(protocol(replace(synthetic_study(seeds=2), data=facts)).data)


def test_a_metric_in_a_list_is_named_with_its_unit_and_definition():
    metrics = [
        {"name": "accuracy", "title": "accuracy", "value_unit": "%", "unit": "points"},
        {"name": "psnr", "unit": "dB", "definition": "from the mean squared error of each image"},
        {"name": "loss"},
    ]
    assert rows_of({"metrics": metrics}) == {
        "metrics": "accuracy (%), psnr (dB): from the mean squared error of each image, loss"
    }


def test_a_table_without_a_name_is_spelt_out_and_long_lists_are_counted():
    rows = rows_of({"parts": [{"path": "a", "images": 3}], "classes": [f"c{n}" for n in range(25)], "absent": None})
    assert rows["parts"] == "path = a; images = 3"
    assert rows["classes"] == ", ".join(f"c{n}" for n in range(20)) + ", … (25 in all)"
    assert "absent" not in rows
