"""Raising of alarms: once, after `patience` samples, at thresholds that users set; a healthy run raises none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import slopewise as sw
from slopewise.monitor import ALARM_IDS, Sample, SiteSample, Thresholds
from slopewise.recording.alarms import Facts, Judge

from .training import ids, killed, mlp, train


def test_a_healthy_run_raises_nothing():
    for activation in (nn.ReLU, nn.PReLU, sw.PReLU, nn.GELU, nn.Tanh):
        assert train(mlp(activation), steps=60).alarms == (), activation


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 6))
def test_an_alarm_is_raised_once_when_its_state_has_lasted(states, patience):
    judge = Judge(Thresholds(patience=patience, values=1))
    raised = []
    for index, dead in enumerate(states):
        units = (0,) if dead else ()
        site = SiteSample("act", "relu", 1, 10, 0.5, units, (), units, 0.5)
        raised += judge.see(Sample(1 + 50 * index, 1, (site,), (), ()), Facts())
    ends = [i for i in range(patience - 1, len(states)) if all(states[i - patience + 1 : i + 1])]
    steps = [(alarm.since, alarm.step) for alarm in raised]
    assert steps == [(1 + 50 * (end - patience + 1), 1 + 50 * end) for end in ends[:1]]


def test_thresholds_move_the_alarms():
    def raised(model=None, **changed):
        return ids(train(model or killed(nn.ReLU), thresholds=Thresholds(**changed)))

    assert raised() == {"dead-units"}
    assert raised(dead=0.6) == raised(values=256 * 21) == raised(patience=21) == set()
    assert raised(killed(nn.ReLU, units=1), dead=0.05) == {"dead-units"}
    assert "linear-site" not in raised(killed(nn.LeakyReLU, units=8))
    assert "linear-site" in raised(killed(nn.LeakyReLU, units=8), linear=0.5)
    assert raised(mlp(nn.Sigmoid, depth=12)) == {"starved-gradient"}
    assert raised(mlp(nn.Sigmoid, depth=12), starved=1e-12) == set()
    assert raised(ignore=("dead-units",)) == set()


def test_bad_thresholds_are_refused():
    for field in ("patience", "values", "dead", "linear", "starved", "runaway", "near_0", "near_1", "most", "stuck"):
        for wrong in (0, -1, math.nan):
            with pytest.raises(ValueError, match=f"threshold {field} must be above 0, got {wrong}"):
                Thresholds(**{field: wrong})
    with pytest.raises(ValueError, match="no alarm is called 'slope-tide'; did you mean 'slope-tied'"):
        Thresholds(ignore=("slope-tide",))
    assert Thresholds(ignore=ALARM_IDS).ignore == ALARM_IDS
