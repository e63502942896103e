"""Rules that a program registers: refusals, faults during training, and their alarms in files."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slopewise.errors import SlopewiseError, SlopewiseWarning
from slopewise.monitor import ADVICE, Alarm, read_recording, to_line
from slopewise.recording import Sample, SlopeSample, SlopeSummary
from slopewise.recording.alarms import (
    Concerned,
    Finding,
    Judge,
    SlopeRule,
    judge,
    register,
    rule_of,
    rules,
    threshold,
    unregister,
)
from slopewise.slopes import MEANINGS, alarms
from slopewise.testing import synthetic_recording

SUMMARY = SlopeSummary(4, 4, 0.1, 0.2, 0.25, 0.3, 0.4, 0.26, 0, 0, 0, 0, None, rounded=False)
SAMPLES = [Sample(s, 1, (), (SlopeSample("act", SUMMARY, 0.1, None, 0.01, 0.1, 1.0, 0.5),), ()) for s in (1, 2, 3)]


class Low(SlopeRule):
    id = "slope-low"
    raised_when = "the median is below `low`"
    advice = "Raise it."
    meaning = "most slopes are low"
    rank = 45

    low: float = threshold(0.3, "smallest ordinary median")

    def judge(self, layer, past, /):
        return Finding(past.step, f"median {layer.summary.median:g}") if self.from_slopes(layer.summary) else None

    def from_slopes(self, summary, /):
        return Concerned(summary.count) if summary.median < self.low else None


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    for rule in rules():
        if isinstance(rule, Low):
            unregister(rule.id)


def test_it_is_judged_listed_and_inspected_in_its_rank() -> None:
    assert alarms(SUMMARY) == judge(SAMPLES) == ()
    register(Low())
    (alarm,) = judge(SAMPLES)
    assert (str(alarm), alarm.advice, alarm.page) == ("step 1: slope-low at act: median 0.25", "Raise it.", "")
    assert list(ADVICE)[3:6] == ["dead-units", "slope-low", "starved-gradient"]
    assert ADVICE["slope-low"] == "Raise it."
    assert [str(alarm) for alarm in alarms(SUMMARY)] == ["low"]
    assert MEANINGS["low"] == "most slopes are low"
    register(Low(low=0.2))  # the latest counts
    assert judge(SAMPLES) == ()
    unregister("slope-low")
    assert rule_of("slope-low") is None
    with pytest.raises(ValueError, match="nothing is registered as 'slope-low'"):
        unregister("slope-low")


def test_objects_that_are_no_rules_are_refused() -> None:
    with pytest.raises(TypeError, match=r"RunRule, SiteRule, SlopeRule, LayerRule: pass an instance, Low\(\); got"):
        register(Low)  # type: ignore[type-var]

    class Taken(Low):
        id = "dead-units"

    class Bare(Low):
        high: float = 0.5

    for rule, message in (
        (Taken(), "'dead-units' cannot be registered"),
        (Bare(), "field high must be made by thresh"),
    ):
        with pytest.raises(ValueError, match=message):
            register(rule)


def test_a_rule_that_fails_is_left_out_and_the_others_go_on() -> None:
    class Broken(Low):
        id = "broken"

        def judge(self, layer, past, /):
            raise ZeroDivisionError("by zero")

    class Wordy(Low):
        id = "wordy"

        def judge(self, layer, past, /):
            return "low"

    for rule in (Broken(), Wordy(), Low()):
        register(rule)
    judgement = Judge()
    with warnings.catch_warnings(record=True, action="always") as caught:
        ids = [alarm.id for sample in SAMPLES for alarm in judgement.see(sample)]
    assert ids == ["slope-low"]
    assert [str(warning.message) for warning in caught] == [
        "alarm rule 'broken' failed and judges nothing more: ZeroDivisionError: by zero",
        "alarm rule 'wordy' failed and judges nothing more: TypeError: judge must return a Finding or None, got 'low'",
    ]
    assert all(warning.category is SlopewiseWarning for warning in caught)


def test_a_file_holds_all_that_a_reader_without_the_rule_needs(tmp_path: Path) -> None:
    register(Low())
    (alarm,) = judge(SAMPLES)
    unregister("slope-low")
    run = synthetic_recording(layers=2)
    lines = [to_line(run.header), to_line(alarm), *map(to_line, run.alarms)]
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join(lines) + "\n")
    first, *others = read_recording(path).alarms
    assert (first, first.advice, first.charts, tuple(others)) == (alarm, "Raise it.", (), run.alarms)
    assert "advice" not in lines[2]
    values = json.loads(lines[1])["alarm"]
    for wrong in ({**values, "advice": ""}, {**values, "id": "x" * 100}, {**values, "id": "Slope Low"}):
        path.write_text(f"{lines[0]}\n{json.dumps({'alarm': wrong})}\n")
        with pytest.raises(SlopewiseError, match="line 2: not of a recording"):
            read_recording(path)
    with pytest.raises(ValueError, match="no alarm is called 'slope-lov'"):
        Alarm("slope-lov", "act", 1, 1, "low")


def test_an_installed_package_brings_a_rule(install: Callable[..., None]) -> None:
    install("slopewise.alarms", {"slope-low": f"{__name__}:INSTALLED"})
    assert [alarm.id for alarm in judge(SAMPLES)] == ["slope-low"]


INSTALLED = Low()
