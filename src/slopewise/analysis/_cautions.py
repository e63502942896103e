"""Reasons not to take a verdict at its word: figures that come from networks, seeds or test sets that show nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from slopewise.analysis._power import seeds_floor
from slopewise.analysis._results import Caution
from slopewise.records import StudyRecord, TrialRecord

_TOO_CLOSE = 2.0  # standard errors above guessing within which an accuracy is no sign of having learned


def untrained_arms(study: StudyRecord, trials: Mapping[str, Mapping[int, TrialRecord]]) -> dict[str, Caution]:
    """Return a caution for each arm whose accuracy cannot be told from guessing.

    Guessing always names the largest class of the test set. An arm has learned if its mean test accuracy, diverged
    seeds at chance, is more than two standard errors of such a guess above it.

    Args:
        study: The records; ``data["test_images_by_class"]`` tells the shares of the classes, which are taken to be
            equal where it is missing.
        trials: Finished trials by arm and seed.
    """
    guess, error = _guessing(study)
    found = {}
    for arm, by_seed in trials.items():
        scores = [1 / study.classes if t.diverged else t.test_accuracy for t in by_seed.values()]
        known = [score for score in scores if score is not None]
        if not known or statistics.fmean(known) > guess + _TOO_CLOSE * error:
            continue
        brief = f"{arm} did not learn"
        figures = f"mean test accuracy {100 * statistics.fmean(known):.3g} %, guessing {100 * guess:.3g} %"
        found[arm] = Caution("untrained", f"{brief} ({figures})", brief)
    return found


def study_cautions(
    study: StudyRecord, trials: Mapping[str, Mapping[int, TrialRecord]], untrained: Mapping[str, Caution]
) -> tuple[Caution, ...]:
    """Return the cautions that hold for every contrast of a study.

    Args:
        study: The records.
        trials: Finished trials by arm and seed.
        untrained: Cautions of the arms that did not learn, from `untrained_arms`.
    """
    found = []
    if study.control in untrained:
        own = untrained[study.control]
        text = (
            f"{own.text}: a difference from it tells that it failed to train, and nothing about trained networks. "
            "Train longer, or with another learning rate, or look at the labels"
        )
        found.append(Caution(own.id, text, own.brief))
    counts = study.data.get("test_images_by_class")
    if counts and (missing := [name for name, count in zip(study.data["classes"], counts, strict=True) if not count]):
        named = ", ".join(repr(name) for name in missing[:3]) + (f" and {len(missing) - 3} more" * (len(missing) > 3))
        text = f"the test set has no image of class {named}: the verdicts are about the other classes"
        found.append(Caution("test-class-missing", text, f"no test image of class {named}"))
    if (image := _points_of_an_image(study)) is not None and image > study.margin:
        text = f"one test image is worth {image:.3g} points, more than the margin of {study.margin:g}: add test images"
        found.append(Caution("coarse-test-set", text, f"one test image is worth {image:.3g} points"))
    scores = [trial.test_accuracy for trial in trials[study.control].values()]
    if scores and all(score == 1.0 for score in scores):
        brief = f"{study.control} is right on every test image"
        found.append(Caution("ceiling", f"{brief} in every seed, so that nothing can do better", brief))
    return tuple(found)


def contrast_cautions(
    arm: str, control: str, pairs: Sequence[tuple[TrialRecord, TrialRecord]], differences: Sequence[float], tests: int
) -> tuple[Caution, ...]:
    """Return the cautions of one contrast.

    Args:
        arm: Name of the arm.
        control: Name of the control.
        pairs: Trials of the arm and of the control in each seed.
        differences: Arm minus control, a number for each pair.
        tests: Contrasts that share the error rate.
    """
    n, found = len(differences), []
    if n > 1 and min(differences) == max(differences):
        if all(_training(one) == _training(other) for one, other in pairs):
            text = (
                f"{arm} and {control} trained identically, to the last bit, in all {n} seeds: they are one function, "
                "or the activation is never applied"
            )
            found.append(Caution("identical", text, text))
        else:
            text = f"all {n} differences are the same number, so that their spread, and the interval, mean nothing"
            found.append(Caution("no-spread", text, text))
    if 0 < n < (floor := seeds_floor(tests)):
        seeds = "1 seed shows" if n == 1 else f"{n} seeds show"
        text = f"{seeds} neither help nor harm for sure, however large; {floor} can"
        found.append(Caution("too-few-seeds", text, text))
    return tuple(found)


def _guessing(study: StudyRecord) -> tuple[float, float]:
    """Return the accuracy of naming the largest class, and its standard error over test sets of that size."""
    counts = study.data.get("test_images_by_class")
    share = max(counts) / sum(counts) if counts and sum(counts) else 1 / study.classes
    images = study.data.get("test_images")
    return share, math.sqrt(share * (1 - share) / images) if images else 0.0


def _points_of_an_image(study: StudyRecord) -> float | None:
    images = study.data.get("test_images")
    return 100 / images if images else None


def _training(trial: TrialRecord) -> tuple[object, ...]:
    """Return the figures of a training that two networks share only if they computed the same."""
    losses = tuple((epoch.train_loss, epoch.validation_loss) for epoch in trial.epochs)
    return trial.diverged_step, trial.train_loss, trial.test_loss, losses
