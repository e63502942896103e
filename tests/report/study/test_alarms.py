"""Alarms of a study on its page, on the terminal and as JSON."""

import json
from dataclasses import replace

import pytest

from slopewise.records import AlarmRecord
from slopewise.report import render_html, study_info, summary_text, to_json
from slopewise.study import ArmSpec
from slopewise.study.arms import ACTIVATIONS, activation_factory
from slopewise.testing import synthetic_study

WILD = synthetic_study(("relu", "prelu_shared"), seeds=4, epochs=3, diverged={"prelu_shared": 2})
CALM = synthetic_study(("relu", "prelu_shared"), seeds=4, epochs=3)


def test_the_terminal_and_json_name_arm_alarm_seeds_and_evidence() -> None:
    text = " ".join(summary_text(WILD).split())
    assert "Alarm slope-runaway in 2 of 4 seeds of prelu_shared, at act1 (PReLU): a slope moved by 0.31 in step" in text
    assert "Alarm" not in summary_text(CALM)
    (alarm,) = json.loads(json.dumps(to_json(WILD)))["alarms"]
    assert (alarm["arm"], alarm["id"], alarm["seeds"], alarm["places"]) == (
        "prelu_shared",
        "slope-runaway",
        [0, 1],
        ["act1"],
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_places_have_the_class_that_the_arm_puts_in(activation: str) -> None:
    module = activation_factory(ArmSpec(name="x", activation=activation))(4)
    study = synthetic_study(("relu", *({activation} - {"relu"})), seeds=1)
    raised = replace(study.trials[-1], alarms=(AlarmRecord("dead-units", "act1", 1, 1, "all of 16 units are dead"),))
    (row,) = study_info(replace(study, trials=(*study.trials[:-1], raised))).alarms
    assert (row.arm, row.places) == (activation, f"act1 ({type(module).__name__})")


def test_the_page_has_them_with_advice_or_says_that_there_are_none() -> None:
    page = render_html(WILD)
    assert "<code>slope-runaway</code>" in page
    assert "Lower the learning rate" in page
    assert "No trial raised an alarm." in render_html(CALM)
