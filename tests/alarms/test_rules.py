"""Every rule of slopewise keeps the contract, in samples made to raise it; faults of a rule are named."""

import math
from dataclasses import fields, replace
from typing import get_args

import pytest

from slopewise.monitor import ADVICE, ALARM_IDS
from slopewise.recording import LayerSample, Sample, SlopeSample, SlopeSummary
from slopewise.recording.alarms import Chart, Facts, Thresholds, rule_of, rules, threshold_fields
from slopewise.report import watch_context
from slopewise.testing import check_alarm_rule, synthetic_recording

FINE = SlopeSummary(4, 4, 0.1, 0.2, 0.25, 0.3, 0.4, 0.26, 0, 0, 0, 0, None, rounded=False)


def with_slopes(*summaries: SlopeSummary) -> list[Sample]:
    layers = [
        SlopeSample("act", summary, 0.1, None, 0.01, 0.1, 1.0, 0.5, furthest_before=summary.maximum)
        for summary in summaries
    ]
    return [Sample(1 + 50 * n, 1, (), (layer,), ()) for n, layer in enumerate(layers)]


STARVED = tuple(LayerSample(str(n), gradient, 1.0, 0.1) for n, gradient in enumerate((1e-9, 1.0, 1.0, 1.0)))
ALARMING = {  # those that the kit's own samples do not raise
    "slope-uninitialised": with_slopes(replace(FINE, maximum=1e9)),
    "starved-gradient": [Sample(step, 1, (), (), STARVED) for step in (1, 2, 3)],
    "slope-decayed": with_slopes(FINE),
    "slope-tied": with_slopes(FINE),
    "slope-near-0": with_slopes(FINE, *[replace(FINE, near_0=3)] * 4),
    "slope-near-1": with_slopes(FINE, *[replace(FINE, near_1=2)] * 4),
}
FACTS = Facts(decays={"act": 0.1}, rates={"act": 0.05}, tied={"act": "applied 2 times by one call of the model"})


@pytest.mark.parametrize("alarm", ALARM_IDS)
def test_a_rule_keeps_the_contract(alarm: str) -> None:
    check_alarm_rule(rule_of(alarm), ALARMING.get(alarm, ()), FACTS if alarm in ALARMING else None)


def test_rules_are_listed_from_the_most_serious_and_each_has_its_own_rank() -> None:
    ranks = [rule.rank for rule in rules()]
    assert ranks == sorted(set(ranks))
    assert tuple(rule.id for rule in rules()) == ALARM_IDS == tuple(ADVICE)


def test_charts_are_those_of_the_watch_page() -> None:
    sections = watch_context(synthetic_recording(layers=8, samples=60))["sections"]
    keys = {chart.key for section in sections for chart in section.charts}
    assert keys - {"gradient-profile"} == set(get_args(Chart))  # the profile has no row for a mark


def test_thresholds_are_those_of_the_rules() -> None:
    of_rules = {field.name: field.default for rule in rules() for field in fields(rule)}
    assert {field.name: field.default for field in fields(Thresholds)} == {**of_rules, "ignore": ()}
    assert threshold_fields()["near_0"][1] == ("slope-negative", "slope-near-0")
    changed = {name: default * 2 for name, default in of_rules.items()}
    for rule in Thresholds(**changed).rules():
        assert all(getattr(rule, field.name) == changed[field.name] for field in fields(rule))


def test_a_threshold_that_no_rule_has_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'ded'"):
        Thresholds(ded=0.5)
    with pytest.raises(ValueError, match="threshold dead must be above 0, got nan"):
        Thresholds(dead=math.nan)
