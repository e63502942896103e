"""An inspection and a monitor agree about slopes, because the same rules judge both."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.recording import Sample, SlopeSample, SlopeSummary
from slopewise.recording.alarms import Thresholds, judge
from slopewise.slopes import alarm_kind, alarms, inspect_slopes, summarise

MARKED = [math.nan, math.inf, -0.02, 0.0, 0.005, 0.25, 0.97, 1.0, 1.06]  # in and at the edges of every band
SLOPES = st.one_of(
    st.lists(st.floats(-3, 3, width=32) | st.sampled_from(MARKED), min_size=1, max_size=12),
    st.builds(lambda value, count: [value] * count, st.sampled_from(MARKED), st.integers(1, 4)),
)
THRESHOLDS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("negative", "above_1", "most"), st.floats(0.01, 1)),
        **dict.fromkeys(("near_0", "near_1"), st.floats(0.001, 0.3)),
        "patience": st.integers(1, 6),
        "stuck": st.integers(1, 6),
    },
)


def run(summary: SlopeSummary) -> list[Sample]:
    """The run that slopes are evidence of: they never moved, or came from elsewhere and stayed for some samples."""
    start = summarise(torch.full((summary.count,), 0.3))
    if summary.untrained:
        layers = [SlopeSample("act", summary, None, None, None, None, None, from_start=0.0)] * 10
    else:
        history = [start, *[summary] * 9]
        layers = [SlopeSample("act", now, 0.1, None, 0.01, 0.1, 1.0, from_start=0.5) for now in history]
    return [Sample(1 + 50 * number, 1, (), (layer,), ()) for number, layer in enumerate(layers)]


@given(slopes=SLOPES, changed=THRESHOLDS, dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_both_say_the_same_of_the_same_slopes(slopes: list[float], changed: dict, dtype: torch.dtype) -> None:
    thresholds = Thresholds(**changed)
    margins = {"near_0": thresholds.near_0, "near_1": thresholds.near_1}
    summary = summarise(torch.tensor(slopes).to(dtype), **margins)
    inspected = alarms(summary, thresholds)
    watched = judge(run(summary), thresholds)
    assert {alarm.kind for alarm in inspected} == {alarm_kind(alarm.id) for alarm in watched}
    counts = {alarm.kind: alarm.slopes for alarm in inspected}
    for alarm in watched:
        if alarm.id not in ("not-finite", "slope-stuck"):
            kind = alarm_kind(alarm.id)
            several = f"{counts[kind]} of {len(slopes)} slopes "
            assert alarm.evidence.startswith(several if len(slopes) > 1 else "the slope, ")


def test_thresholds_and_ignored_alarms_count_in_both() -> None:
    summary = summarise(torch.tensor([-0.5, 0.2, 0.3, 0.4]))
    assert alarms(summary) == judge(run(summary)) == ()
    strict = Thresholds(negative=0.25)
    assert [alarm.kind for alarm in alarms(summary, strict)] == ["negative"]
    assert [alarm.id for alarm in judge(run(summary), strict)] == ["slope-negative"]
    silent = Thresholds(negative=0.25, ignore=("slope-negative",))
    assert alarms(summary, silent) == judge(run(summary), silent) == ()


def test_thresholds_reach_every_layer_of_an_inspection() -> None:
    state = {"act.weight": torch.tensor([-0.5, 0.2, 0.3, 0.4]), "other.act.weight": torch.tensor([0.1, 0.2])}
    assert inspect_slopes(state).alarming == ()
    inspection = inspect_slopes(state, thresholds=Thresholds(negative=0.25, near_1=0.85))
    assert [(layer.found.layer, *map(str, layer.alarms)) for layer in inspection.alarming] == [
        ("act", "negative", "near 1"),
        ("other.act", "near 1"),
    ]
