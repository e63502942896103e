"""The default study's trials under the monitor: told before a divergence, and silent where training is well."""

import pytest

from slopewise.study import DEFAULT_ARMS, StudySpec, run_trial
from slopewise.study.data import load_data

pytestmark = pytest.mark.slow


def trial(arm, seed, lr=None):
    train = {} if lr is None else {"lr": lr}
    spec = StudySpec(train=train, monitor={"every": 1}, seeds=[10**6])  # a study's first seed times kernels, too
    return run_trial(spec, arm, seed, load_data(spec.data))


def test_a_slope_runs_away_at_least_5_steps_before_the_loss_is_lost():
    """The seeds that diverge depend on the processor's rounding: the rate is raised until some do."""
    for lr in (0.1, 0.12, 0.15):
        records = [trial("prelu_shared", seed, lr) for seed in (3, 5)]
        diverged = [record for record in records if record.diverged]
        if diverged:
            break
    assert diverged, f"no seed diverges, not even at {lr}"
    for record in diverged:
        first = min(alarm.step for alarm in record.alarms if alarm.id == "slope-runaway")
        assert first + 5 <= record.diverged_step, (lr, record.seed)


@pytest.mark.parametrize("arm", DEFAULT_ARMS)
def test_training_that_is_well_raises_nothing(arm):
    record = trial(arm, seed=6)  # in which two of sixteen ReLUs of a layer die
    assert not record.diverged
    assert record.alarms == ()
