"""Conformance kit of alarm rules: the contract of `slopewise.recording.alarms.AlarmRule`, checked on samples."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, get_args

from slopewise.errors import SlopewiseWarning
from slopewise.recording import Alarm, Sample, SlopeSample, SlopeSummary, from_line, to_line
from slopewise.recording.alarms import (
    AlarmRule,
    Chart,
    Facts,
    Judge,
    RunRule,
    SlopeRule,
    check_declaration,
)
from slopewise.testing._recordings import synthetic_recording

_LONG = 60  # samples after which any rule must have made up its mind


def check_alarm_rule(rule: AlarmRule[Any], alarming: Sequence[Sample] = (), facts: Facts | None = None) -> None:
    """Check that an alarm rule keeps its contract.

    The checks are: the class attributes are as `AlarmRule` describes them; thresholds of 0, below 0 and NaN are
    refused; samples without layers and a healthy run raise nothing; the rule is raised in the alarming samples, once
    for each place (a `RunRule` once), at a place that they have, since a step that has been; evidence is one line;
    equal samples give equal alarms, and the rule itself stays as it was; alarms survive a recording's file; and what
    the rule says of slopes alone is what it says of a layer that has had these slopes for long.

    Args:
        rule: Rule to check.
        alarming: Samples of one run that raises the alarm. Those of a synthetic run with dead and linear units, slopes
            that are stuck, negative, above 1 and running away, and NaN at its end by default.
        facts: Facts about slopes in that run.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> from slopewise.recording.alarms import rule_of
        >>> check_alarm_rule(rule_of("dead-units"))
    """
    alarming = alarming or synthetic_recording(layers=8, samples=_LONG, diverged=True, alarms=False).samples
    facts = facts or Facts()
    _check_declaration(rule)
    _check_thresholds(rule)
    _check_silence(rule)
    alarms = _raised(rule, alarming, facts)
    assert alarms, f"{rule.id} is not raised in the alarming samples: pass samples of a run that raises it"
    _check_alarms(rule, alarms, alarming)
    _check_purity(rule, alarms, alarming, facts)
    _check_file(rule, alarms, alarming, facts)
    _check_slopes_alone(rule, alarming)


def _raised(rule: AlarmRule[Any], samples: Sequence[Sample], facts: Facts | None = None) -> list[Alarm]:
    judge = Judge(rules=[rule])
    with warnings.catch_warnings():
        warnings.simplefilter("error", SlopewiseWarning)
        try:
            return [alarm for sample in samples for alarm in judge.see(sample, facts)]
        except Exception as error:  # a rule can raise anything
            raise AssertionError(f"{rule.id}: judge() fails: {type(error).__name__}: {error}") from error


def _check_declaration(rule: AlarmRule[Any]) -> None:
    try:
        check_declaration(rule)
    except (TypeError, ValueError) as error:
        raise AssertionError(str(error)) from error
    unknown = set(rule.charts) - set(get_args(Chart))
    assert not unknown, (
        f"{rule.id}: the watch page has no charts {sorted(unknown)}; it has {', '.join(get_args(Chart))}"
    )
    judges_slopes = type(rule).from_slopes is not AlarmRule.from_slopes
    assert judges_slopes == bool(rule.meaning), f"{rule.id}: from_slopes() and meaning need each other"


def _check_thresholds(rule: AlarmRule[Any]) -> None:
    for field in fields(rule):
        for wrong in (0, -1, math.nan):
            message = ""
            try:
                replace(rule, **{field.name: wrong})
            except ValueError as error:
                message = str(error)
            assert message, f"{rule.id}: threshold {field.name} accepts {wrong}"
            assert field.name in message, f"{rule.id}: the error about {field.name} does not name it: {message}"


def _check_silence(rule: AlarmRule[Any]) -> None:
    empty = [Sample(step, 1, (), (), ()) for step in (1, 51, 101)]
    assert not (alarms := _raised(rule, empty)), f"{rule.id} is raised by samples without layers: {alarms[0]}"
    for slopes in (True, False):
        healthy = synthetic_recording(layers=8, samples=_LONG, healthy=True, slopes=slopes).samples
        assert not (alarms := _raised(rule, healthy)), f"{rule.id} is raised by a healthy run: {alarms[0]}"


def _check_alarms(rule: AlarmRule[Any], alarms: Sequence[Alarm], samples: Sequence[Sample]) -> None:
    places = [alarm.where for alarm in alarms]
    assert len(places) == len(set(places)), f"{rule.id} is raised twice at one place: {places}"
    there = {where for sample in samples for where in _places(rule, sample)}
    for alarm in alarms:
        assert alarm.where in there, f"{rule.id} names '{alarm.where}', which no sample has"
        assert 1 <= alarm.since <= alarm.step, f"{rule.id}: since is {alarm.since} in step {alarm.step}"
        assert isinstance(alarm.evidence, str), f"{rule.id}: evidence is {alarm.evidence!r}, not a str"
        assert alarm.evidence.strip(), f"{rule.id}: evidence is empty"
        assert len(alarm.evidence.splitlines()) == 1, f"{rule.id}: evidence must be one line: {alarm.evidence!r}"


def _places(rule: AlarmRule[Any], sample: Sample) -> set[str]:
    if not isinstance(rule, RunRule):
        return {where for where, _ in rule.subjects(sample)}
    layers = {layer.layer for layer in sample.slopes} | {layer.layer for layer in sample.layers}
    return layers | {site.site for site in sample.sites}


def _check_purity(rule: AlarmRule[Any], alarms: Sequence[Alarm], samples: Sequence[Sample], facts: Facts) -> None:
    before = copy.deepcopy(vars(rule))
    again = _raised(rule, copy.deepcopy(samples), facts)
    assert again == alarms, f"{rule.id} is not pure: equal samples gave {again[:1]} after {alarms[:1]}"
    assert vars(rule) == before, f"{rule.id} changes itself: {vars(rule)} after {before}"


def _check_file(rule: AlarmRule[Any], alarms: Sequence[Alarm], samples: Sequence[Sample], facts: Facts) -> None:
    for alarm in alarms:
        read = from_line(to_line(alarm))
        assert isinstance(read, Alarm), f"{rule.id}: {read!r} is read back from the line of {alarm!r}"
        assert (read, read.advice) == (alarm, alarm.advice), f"{rule.id}: {read!r} is read back from {alarm!r}"
    _raised(rule, [sample for sample in map(_read, samples) if isinstance(sample, Sample)], facts)


def _read(sample: Sample) -> object:
    return from_line(to_line(sample))  # NaN and infinities become None or NaN


def _check_slopes_alone(rule: AlarmRule[Any], samples: Sequence[Sample]) -> None:
    if not rule.meaning or not isinstance(rule, (SlopeRule, RunRule)):
        return
    for summary in dict.fromkeys(layer.summary for sample in samples for layer in sample.slopes):
        concerned = rule.from_slopes(summary)
        raised = _raised(rule, _history(summary))
        assert (concerned is None) == (not raised), (
            f"{rule.id}: from_slopes() gives {concerned} for {summary}, yet a run that ends there gives {raised}"
        )
        assert concerned is None or 1 <= concerned.slopes <= summary.count, f"{rule.id}: {concerned} of {summary.count}"


def _history(summary: SlopeSummary) -> list[Sample]:
    """Return the run that slopes are evidence of: they never moved, or came from elsewhere and stayed."""
    if summary.untrained:
        layers = [SlopeSample("act", summary, None, None, None, None, None, 0.0)] * _LONG
    else:
        start = replace(summary, finite=summary.count, negative=0, near_0=0, near_1=0, above_1=0)
        layers = [SlopeSample("act", now, 0.1, None, 0.01, 0.1, 1.0, 0.5) for now in (start, *[summary] * _LONG)]
    return [Sample(1 + 50 * number, 1, (), (layer,), ()) for number, layer in enumerate(layers)]
