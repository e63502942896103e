"""Pairing: arms that were to start alike did, and arms that continue others are a group of their own."""

from dataclasses import replace

from slopewise.analysis import analyse
from slopewise.records import StudyRecord
from slopewise.testing import synthetic_study


def continued(digests: dict[str, str]) -> StudyRecord:
    """Return a study in which two arms start from the weights of `relu`, with these digests."""
    study = synthetic_study(("relu", "elu", "relu_on", "elu_on"), seeds=3)
    start = {"arm": "relu", "take": "weights"}
    arms = [{**arm, "start": start if arm["name"].endswith("_on") else None} for arm in study.spec["arms"]]
    trials = tuple(
        replace(t, init_digest=f"{digests[t.arm]} {t.seed}") if t.arm in digests else t for t in study.trials
    )
    return replace(study, spec={**study.spec, "arms": arms}, trials=trials)


def test_arms_that_continue_another_need_not_start_as_the_rest() -> None:
    assert analyse(continued({"relu_on": "trained", "elu_on": "trained"})).pairing.broken == ()


def test_arms_that_continue_another_must_start_alike() -> None:
    assert analyse(continued({"relu_on": "trained", "elu_on": "other"})).pairing.broken == (0, 1, 2)


def test_arms_that_continue_nothing_must_start_alike() -> None:
    assert analyse(continued({"elu": "other"})).pairing.broken == (0, 1, 2)
