"""Alarms of an arm's trials, put together."""

from dataclasses import replace

from slopewise.analysis import ArmAlarm, analyse
from slopewise.records import AlarmRecord
from slopewise.testing import synthetic_study


def test_alarms_are_counted_by_arm_and_kind_with_the_earliest_in_full() -> None:
    study = synthetic_study(("relu", "elu"), seeds=3, epochs=1)
    raised = {
        ("elu", 0): (
            AlarmRecord("dead-units", "act2", 80, 20, "9 of 16"),
            AlarmRecord("dead-units", "act1", 90, 1, "x"),
        ),
        ("elu", 2): (
            AlarmRecord("linear-site", "act1", 5, 5, "y"),
            AlarmRecord("dead-units", "act2", 40, 30, "8 of 16"),
        ),
        ("relu", 1): (AlarmRecord("dead-units", "act3", 7, 7, "z"),),
    }
    trials = tuple(replace(trial, alarms=raised.get((trial.arm, trial.seed), ())) for trial in study.trials)
    summaries = analyse(replace(study, trials=trials)).alarms
    assert summaries == (
        ArmAlarm("relu", "dead-units", (1,), ("act3",), 7, 1, "z"),
        ArmAlarm("elu", "dead-units", (0, 2), ("act2", "act1"), 40, 2, "8 of 16"),
        ArmAlarm("elu", "linear-site", (2,), ("act1",), 5, 2, "y"),
    )
    assert analyse(study).alarms == ()
