"""Reasons not to trust a verdict as it stands: networks, seeds or test sets that can show nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from slopewise.analysis._few import few_cautions
from slopewise.analysis._pairs import Sample, not_finite
from slopewise.analysis._results import Caution, CautionId
from slopewise.analysis._verdict import reaches
from slopewise.records import StudyRecord, TrialRecord

# The largest class makes accuracy a poor score if it has so much of the test images, and so many times the mean of the
# other classes.
_LARGE, _UNEVEN = 0.3, 4
_OF_THE_SCORE: frozenset[CautionId] = frozenset({"ceiling", "coarse-test-set", "largest-class", "test-class-missing"})
_TOO_CLOSE = 2.0  # an accuracy within so many standard errors of guessing does not show that anything was learned


def untrained_arms(study: StudyRecord, trials: Mapping[str, Mapping[int, TrialRecord]]) -> dict[str, Caution]:
    """Return a caution for each arm whose scores cannot be distinguished from guessing.

    Guessing always names the largest class of the test set. An arm has learned if its mean test score, with diverged
    seeds at chance, is better than that by more than two standard errors. Metrics without chance get no caution.

    Args:
        study: Records of the study. The shares of the classes come from ``data["test_images_by_class"]``; without it
            they are taken to be equal.
        trials: Finished trials by arm and seed.
    """
    metric = study.primary
    if metric.chance is None:
        return {}
    guess, error = _guessing(study, metric.chance)
    sign = 1 if metric.better == "higher" else -1
    cautions = {}
    for arm, by_seed in trials.items():
        scores = [metric.chance if t.diverged else t.score("test", metric.name) for t in by_seed.values()]
        known = [score for score in scores if score is not None]
        if not known or sign * (statistics.fmean(known) - guess) > _TOO_CLOSE * error:
            continue
        brief = f"{arm} did not learn"
        mean, guessed = (
            f"{metric.scale * score:.3g} {metric.value_unit}".rstrip() for score in (statistics.fmean(known), guess)
        )
        cautions[arm] = Caution("untrained", f"{brief} (mean {study.titled(metric)} {mean}, guessing {guessed})", brief)
    return cautions


def study_cautions(
    study: StudyRecord, trials: Mapping[str, Mapping[int, TrialRecord]], untrained: Mapping[str, Caution]
) -> tuple[Caution, ...]:
    """Return the cautions that hold for every contrast of a study.

    Args:
        study: Records of the study.
        trials: Finished trials by arm and seed.
        untrained: Cautions of the arms that did not learn, from `untrained_arms`.
    """
    cautions = []
    if study.control in untrained:
        own = untrained[study.control]
        text = (
            f"{own.text}: a difference from it tells that it failed to train, and nothing about trained networks. "
            "Train longer, or with another learning rate, or look at the labels"
        )
        cautions.append(Caution(own.id, text, own.brief))
    counts = study.data.get("test_images_by_class")
    if counts and (missing := [name for name, count in zip(study.data["classes"], counts, strict=True) if not count]):
        named = ", ".join(repr(name) for name in missing[:3]) + (f" and {len(missing) - 3} more" * (len(missing) > 3))
        text = f"the test set has no image of class {named}: the verdicts are about the other classes"
        cautions.append(Caution("test-class-missing", text, f"no test image of class {named}"))
    cautions += _about_the_largest_class(study)
    if (image := worth_of_an_image(study)) and reaches(image, study.margin):
        brief = f"one test image is worth {image:.3g} {study.primary.unit}"
        cautions.append(
            Caution("coarse-test-set", f"{brief}, and {study.margin:g} or more matter: add test images", brief)
        )
    scores = [trial.score("test", study.primary.name) for trial in trials[study.control].values()]
    if study.primary.per_image and scores and all(score == 1.0 for score in scores):
        brief = f"{study.control} is right on every test image"
        cautions.append(Caution("ceiling", f"{brief} in every seed, so that nothing can do better", brief))
    diverged = sum(trial.diverged for by_seed in trials.values() for trial in by_seed.values())
    if diverged and study.primary.chance is None:
        brief = f"{diverged} diverged {'trial is' if diverged == 1 else 'trials are'} left out"
        text = (
            f"{brief}, which flatters arms that diverge: nothing tells what {study.primary.title} a model that knows "
            "nothing has; state it as the floor (`floor` in the spec, `--floor`), and diverged trials count with it"
        )
        cautions.append(Caution("no-floor", text, brief))
    cautions += _about_repeats(study)
    if broken := [(t, name) for t in study.trials if t.status == "finished" for name in not_finite(t)]:
        first, name = broken[0]
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        brief = f"{name} of {first.arm}, seed {first.seed}, is {not_finite(first)[name]}{more}"
        cautions.append(Caution("not-finite", f"{brief}, and counts as missing", brief))
    return tuple(cautions)


def of_other_figures(cautions: Iterable[Caution]) -> tuple[Caution, ...]:
    """Return the cautions of a study that hold for figures other than its primary score: not those on test images."""
    return tuple(caution for caution in cautions if caution.id not in _OF_THE_SCORE)


def contrast_cautions(
    arm: str,
    control: str,
    trials: Sequence[tuple[TrialRecord, TrialRecord]],
    sample: Sample,
    *,
    tests: int,
    can_show: bool,
    resolution: float,
) -> tuple[Caution, ...]:
    """Return the cautions of one contrast.

    Args:
        arm: Name of the arm.
        control: Name of the control.
        trials: Trials of the arm and of the control in each seed of the pairs; empty without pairs.
        sample: Values of the contrast.
        tests: Number of contrasts that share the error rate.
        can_show: True if this number of values could be enough, given that other arms are significant.
        resolution: Difference that one test image makes; 0 for a figure that counts no test images.
    """
    design, cautions = sample.design, []
    if sample.both_diverged:
        diverged = f"both {arm} and {control} diverged in {sample.both_diverged} of {sample.finished} seeds"
        left = f"{design.arm} {'pair is' if design.arm == 1 else 'pairs are'} left"
        text = f"{diverged}, which say nothing of the difference: {left}"
        cautions.append(Caution("lost-pairs", text, text))
    if sample.sd == 0.0:
        if trials and all(_training(one) and _training(one) == _training(other) for one, other in trials):
            text = (
                f"{arm} and {control} trained identically, to the last bit, in all {design.arm} seeds: they are one "
                "function, or the activation is never applied"
            )
            cautions.append(Caution("identical", text, text))
        else:
            what = f"all {design.arm} differences are" if trials else f"all runs of {arm}, and all of {control}, are"
            image = "their spread is taken to be that of one test image"
            text = f"{what} the same number: {image if resolution else 'nothing tells their spread'}"
            cautions.append(Caution("no-spread", text, text))
    cautions += few_cautions(arm, control, sample, tests=tests, can_show=can_show)
    return tuple(cautions)


def _about_repeats(study: StudyRecord) -> list[Caution]:
    """Return a caution if a trial was trained twice with everything equal, and gave two results."""
    unequal = [repeat for repeat in study.repeats if repeat.same_identity and not repeat.equal]
    if not unequal:
        return []
    names = list(dict.fromkeys(f"{repeat.arm} seed {study.seed_name(repeat.seed)}" for repeat in unequal))
    named = ", ".join(names[:3]) + (f" and {len(names) - 3} more" * (len(names) > 3))
    brief = f"{named} {'has' if len(names) == 1 else 'have'} two results"
    text = (
        f"{brief}: trained twice from the same spec, seed, code and environment, the records differ. The training is "
        "not reproducible, or a machine is faulty; the first record counts"
    )
    return [Caution("not-repeatable", text, brief)]


def _about_the_largest_class(study: StudyRecord) -> list[Caution]:
    """Return a caution if most of what accuracy can show is the largest class, which a constant answer gets right."""
    counts = study.data.get("test_images_by_class")
    if study.primary.name != "accuracy" or not counts or not sum(counts):
        return []
    share, others = max(counts) / sum(counts), sum(counts) - max(counts)
    if share < _LARGE or (others and max(counts) * (len(counts) - 1) < _UNEVEN * others):
        return []
    name = study.data["classes"][counts.index(max(counts))]
    brief = f"{100 * share:.0f} % of the test images are of class {name!r}"
    text = (
        f"{brief}, so that naming it alone has that accuracy, and the other classes hardly count: look at the recall "
        'of each class, or choose another primary metric in the spec, task.options.metrics = ["balanced_accuracy", '
        '"accuracy"]'
    )
    return [Caution("largest-class", text, brief)]


def _guessing(study: StudyRecord, chance: float) -> tuple[float, float]:
    """Return the score of guessing, and its standard error over test sets of that size.

    If the score is a fraction of the images, guessing names the largest class.
    """
    if not study.primary.per_image:
        return chance, 0.0
    counts = study.data.get("test_images_by_class")
    share = max(chance, max(counts) / sum(counts)) if counts and sum(counts) else chance
    images = study.data.get("test_images")
    return share, math.sqrt(share * (1 - share) / images) if images else 0.0


def worth_of_an_image(study: StudyRecord) -> float:
    """Return the difference in the primary metric, in its unit, that one test image makes.

    It is 0 if the number of test images is not recorded, or if images do not count one by one.
    """
    images = study.data.get("test_images")
    return study.primary.scale / images if images and study.primary.per_image else 0.0


def _training(trial: TrialRecord) -> tuple[object, ...]:
    """Return figures of a training run that two networks have in common only if they computed the same.

    Losses are such figures. Accuracies are not, and a trial without losses has none.
    """
    rows = zip(*trial.columns("scores", "epoch", "part", "metric", "value"), strict=True)
    losses = tuple(row for row in rows if row[2].endswith("loss"))
    return (trial.diverged_step, losses) if losses else ()
