"""Hand-made records, so that each test shows all numbers behind its expectation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from slopewise.records import (
    EpochRecord,
    ScoreRecord,
    SiteRecord,
    StudyRecord,
    TrialRecord,
    classification_metrics,
)

Epoch = tuple[EpochRecord, tuple[ScoreRecord, ...]]
PARTS, NAMES = ("train", "validation", "test"), ("loss", "accuracy")


def make_trial(arm: str, seed: int, accuracy: float | None, *, epochs: Sequence[Epoch] = (), **fields) -> TrialRecord:
    """Make a finished trial with a test accuracy in percent; with None it diverged at step 7.

    Fields such as `train_loss` are its final scores.
    """
    if accuracy is None:
        fields |= {"diverged_step": 7, "diverged_cause": "loss is nan", "steps": 7}
    else:
        fields["test_accuracy"] = accuracy / 100
    rows, fields = split_scores(None, fields)
    return with_epochs(TrialRecord(arm, seed, "finished", scores=rows, **fields), *epochs)


def with_epochs(trial: TrialRecord, *epochs: Epoch) -> TrialRecord:
    """Return the trial with these epochs in place of its own, and with their scores."""
    final = tuple(row for row in trial.scores if row.epoch is None)
    rows = tuple(row for _, scores in epochs for row in scores)
    return replace(trial, epochs=tuple(epoch for epoch, _ in epochs), scores=(*rows, *final))


def split_scores(epoch: int | None, fields: dict) -> tuple[tuple[ScoreRecord, ...], dict]:
    """Return the scores among some fields as rows, and the other fields."""
    scores = {f"{part}_{name}": (part, name) for part in PARTS for name in NAMES}
    rows = tuple(ScoreRecord(epoch, *scores[key], value) for key, value in fields.items() if key in scores)
    return rows, {key: value for key, value in fields.items() if key not in scores}


def make_study(scores: Mapping[str, Sequence[float | None]], **fields) -> StudyRecord:
    """Make a study of accuracies in percent, with None for diverged trials; the first arm is the control."""
    arms = tuple(scores)
    settings = {
        "arms": arms,
        "control": arms[0],
        "seeds": tuple(range(max(map(len, scores.values())))),
        "margin": 0.5,
        "metrics": classification_metrics(fields.pop("classes", 10)),
        "trials": tuple(make_trial(arm, seed, value) for arm in arms for seed, value in enumerate(scores[arm])),
    }
    return StudyRecord(**{**settings, **fields})


def make_epoch(epoch: int, step: int, validation_accuracy: float | None = None, **fields) -> Epoch:
    """Make an epoch with its scores, of which only the given ones matter."""
    rows, fields = split_scores(epoch, {"validation_accuracy": validation_accuracy, **fields})
    return EpochRecord(epoch, step, **{"learning_rate": None, "seconds_per_step": None, **fields}), rows


def make_site(epoch: int, layer: str, units: int, slopes: Sequence[float] = (), *, dead: float = 0.0) -> SiteRecord:
    """Make a layer with up to three slopes: its extremes and its median."""
    low, middle, high = (min(slopes), sorted(slopes)[len(slopes) // 2], max(slopes)) if slopes else (None,) * 3
    return SiteRecord(epoch, layer, units, len(slopes), low, low, middle, high, high, dead, dead / 2)


@pytest.fixture
def trial() -> Callable[..., TrialRecord]:
    return make_trial


@pytest.fixture
def study() -> Callable[..., StudyRecord]:
    return make_study


@pytest.fixture
def epoch() -> Callable[..., Epoch]:
    return make_epoch


@pytest.fixture
def site() -> Callable[..., SiteRecord]:
    return make_site
