"""Alarms of a study on its page, on the terminal and as JSON."""

import json

from slopewise.report import render_html, summary_text, to_json
from slopewise.testing import synthetic_study

WILD = synthetic_study(("relu", "prelu_shared"), seeds=4, epochs=3, diverged={"prelu_shared": 2})
CALM = synthetic_study(("relu", "prelu_shared"), seeds=4, epochs=3)


def test_the_terminal_and_json_name_arm_alarm_seeds_and_evidence() -> None:
    text = " ".join(summary_text(WILD).split())
    assert "Alarm slope-runaway in 2 of 4 seeds of prelu_shared, at act1: a slope moved by 0.31 in step" in text
    assert "Alarm" not in summary_text(CALM)
    (alarm,) = json.loads(json.dumps(to_json(WILD)))["alarms"]
    assert (alarm["arm"], alarm["id"], alarm["seeds"], alarm["places"]) == (
        "prelu_shared",
        "slope-runaway",
        [0, 1],
        ["act1"],
    )


def test_the_page_has_them_with_advice_or_says_that_there_are_none() -> None:
    page = render_html(WILD)
    assert "<code>slope-runaway</code>" in page
    assert "Lower the learning rate" in page
    assert "No trial raised an alarm." in render_html(CALM)
