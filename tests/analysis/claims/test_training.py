"""Claims about the score and the time to it, against references computed from the records."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from slopewise.analysis.claims import claim_of, evidence
from slopewise.testing import check_claim, replace_score, synthetic_study

ARMS = ("relu", "prelu_shared", "prelu_channel")


def planted(effect, **fields):
    return synthetic_study(ARMS, effects=dict.fromkeys(ARMS[1:], effect), **fields)


def by_seed(study, arm, figure):
    return np.array([figure(trial) for trial in study.trials if trial.arm == arm])


def quick(trial):
    """Return a trial that reaches any validation score of an arm after two epochs."""
    return replace_score(trial, "validation", "accuracy", 1.0, epoch=2)


def exact_p(differences):
    test = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    return float(test.pvalue)


def steps_to(trial, target):
    reached = [e.step for e in trial.epochs if trial.score("validation", "accuracy", e.epoch) >= target]
    return min(reached, default=trial.steps * (1 + 1 / trial.epochs[-1].epoch))


def accuracy(trial):
    return 100 * trial.score("test", "accuracy")


@pytest.mark.parametrize("name", ["tuned-score", "steps-to-target", "seconds-to-target"])
def test_contract(name):
    better, worse = (planted(effect, tuned=True) for effect in (3.0, -3.0))
    if name != "tuned-score":  # there, ReLU reaches its median final score at its end, and a PReLU step takes longer
        better = replace(better, trials=tuple(replace(t, seconds_per_step=0.01) for t in better.trials))
        worse = replace(worse, trials=tuple(quick(t) if t.arm == "relu" else t for t in worse.trials))
    check_claim(claim_of(name), better, worse)


def test_the_tuned_score_is_the_paired_difference():
    study = planted(2.0, tuned=True)
    for finding in evidence(claim_of("tuned-score"), study).parts:
        differences = by_seed(study, finding.arms[0], accuracy) - by_seed(study, "relu", accuracy)
        assert finding.estimate == pytest.approx(differences.mean())
        assert finding.p == pytest.approx(exact_p(differences))
        assert finding.interval[0] <= 2.0 <= finding.interval[1]
        assert (finding.band, finding.n, finding.basis) == ((-0.5, 0.5), 10, "10 seeds")
        assert {(key.arm, key.cell) for key in finding.trials} == {(finding.arms[0], ""), ("relu", "")}


def test_diverged_trials_count_as_chance():
    study = synthetic_study(ARMS, diverged={"prelu_channel": 3}, tuned=True)
    finding = evidence(claim_of("tuned-score"), study).parts[1]
    expected = [10.0] * 3 + [accuracy(t) for t in study.trials if t.arm == "prelu_channel" and not t.diverged]
    assert finding.estimate == pytest.approx(np.mean(expected - by_seed(study, "relu", accuracy)))


def test_steps_and_seconds_are_those_of_the_curves():
    study = planted(1.0)
    target = np.median([t.score("validation", "accuracy") for t in study.trials if t.arm == "relu"])
    steps = {arm: by_seed(study, arm, lambda t: steps_to(t, target)) for arm in ARMS}
    seconds = {arm: steps[arm] * by_seed(study, arm, lambda t: t.seconds_per_step) for arm in ARMS}
    for name, values in (("steps-to-target", steps), ("seconds-to-target", seconds)):
        for finding in evidence(claim_of(name), study).parts:
            differences = values[finding.arms[0]] - values["relu"]
            assert finding.estimate == pytest.approx(differences.mean())
            assert finding.p == pytest.approx(exact_p(differences))
            assert finding.band[1] == pytest.approx(0.05 * values["relu"].mean())
            assert "never reached the target" in finding.cautions[0]


def test_the_target_is_relus_whatever_the_control_is():
    study = planted(1.0)
    swapped = replace(study, control="prelu_channel", spec={**study.spec, "control": "prelu_channel"})
    claim = claim_of("steps-to-target")
    assert evidence(claim, swapped).parts == evidence(claim, study).parts


def test_seconds_of_other_environments_are_left_out():
    study = planted(1.0)
    moved = tuple(replace(t, environment="other") if (t.arm, t.seed) == ("relu", 4) else t for t in study.trials)
    assert [f.n for f in evidence(claim_of("seconds-to-target"), replace(study, trials=moved)).parts] == [9, 9]


def test_arms_are_known_by_their_activation():
    arms = [{"name": "a", "activation": "relu"}, {"name": "b", "activation": "prelu_channel"}]
    entry = evidence(claim_of("tuned-score"), synthetic_study(arms, effects={"b": 3.0}, tuned=True))
    assert (entry.verdict, entry.finding.arms) == ("supported", ("b", "a"))
    frozen = [arms[0], {**arms[1], "slope_lr_scale": 0.0}]
    assert evidence(claim_of("tuned-score"), synthetic_study(frozen, tuned=True)).verdict == "not tested"
    as_is = [{"name": "a", "activation": "as_is"}, arms[1]]
    entry = evidence(claim_of("tuned-score"), synthetic_study(as_is, effects={"b": 3.0}, tuned=True))
    assert entry.finding.cautions[0] == "a is taken for ReLU: it has the network's own activations"


def test_scores_that_are_better_when_lower():
    study = planted(2.0, tuned=True)
    metrics = (replace(study.metrics[1], margin=0.01), study.metrics[0])
    trials = tuple(
        replace_score(t, "test", "loss", 1.0 - 0.1 * t.arm.startswith("prelu") + 0.001 * t.seed) for t in study.trials
    )
    entry = evidence(claim_of("tuned-score"), replace(study, metrics=metrics, trials=trials, margin=0.01))
    assert entry.verdict == "supported"
    assert entry.finding.estimate == pytest.approx(-0.1)
