"""Hand-made records, so that a test shows every number that its expectation comes from."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from slopewise.records import EpochRecord, SiteRecord, StudyRecord, TrialRecord


def make_trial(arm: str, seed: int, accuracy: float | None, **fields) -> TrialRecord:
    """A finished trial with a test accuracy in percent; None: it diverged at step 7."""
    if accuracy is None:
        return TrialRecord(arm, seed, "finished", diverged_step=7, diverged_cause="loss is nan", steps=7, **fields)
    return TrialRecord(arm, seed, "finished", test_accuracy=accuracy / 100, **fields)


def make_study(scores: Mapping[str, Sequence[float | None]], **fields) -> StudyRecord:
    """A study of these accuracies in percent, seed by seed; None diverged; the first arm is the control."""
    arms = tuple(scores)
    settings = {
        "arms": arms,
        "control": arms[0],
        "seeds": tuple(range(max(map(len, scores.values())))),
        "margin": 0.5,
        "classes": 10,
        "trials": tuple(make_trial(arm, seed, value) for arm in arms for seed, value in enumerate(scores[arm])),
    }
    return StudyRecord(**{**settings, **fields})


def make_epoch(epoch: int, step: int, validation_accuracy: float | None = None, **fields) -> EpochRecord:
    """An epoch of which only the given fields matter."""
    blank = dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "learning_rate", "seconds_per_step"))
    return EpochRecord(epoch, step, validation_accuracy=validation_accuracy, **{**blank, **fields})


def make_site(epoch: int, layer: str, units: int, slopes: Sequence[float] = (), *, dead: float = 0.0) -> SiteRecord:
    """A layer with up to three slopes: its extremes and median."""
    low, middle, high = (min(slopes), sorted(slopes)[len(slopes) // 2], max(slopes)) if slopes else (None,) * 3
    return SiteRecord(epoch, layer, units, len(slopes), low, low, middle, high, high, dead, dead / 2)


@pytest.fixture
def trial() -> Callable[..., TrialRecord]:
    return make_trial


@pytest.fixture
def study() -> Callable[..., StudyRecord]:
    return make_study


@pytest.fixture
def epoch() -> Callable[..., EpochRecord]:
    return make_epoch


@pytest.fixture
def site() -> Callable[..., SiteRecord]:
    return make_site
