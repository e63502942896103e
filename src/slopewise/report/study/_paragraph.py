"""Paragraph about a study for a paper: methods and results in plain sentences, with all numbers from the analysis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slopewise.analysis import Analysis, Contrast, p_words, tuning
from slopewise.drawing import count, listing, plain, spread
from slopewise.records import StudyRecord, amount
from slopewise.report.study.info._origin import augmentation_words, image_words, name_of_data
from slopewise.report.study.info._study import StudyInfo, study_info
from slopewise.support.citation import version

_SMALL = "no practical effect"
_PACKAGES = ("slopewise", "torch")
_STABLE = ", among the rates more than one step below the lowest rate at which a trial of the arm diverged"
_VERDICTS = {"helps": "helped", "hurts": "hurt", _SMALL: "had no practical effect"}


def paper_paragraph(study: StudyRecord) -> str:
    """Return a paragraph with the methods and results of a study, for use in a paper.

    The paragraph states arms, data, model and its size, training, augmentation, seeds or looks, pairing, test,
    correction, interval, the margin and whether it was chosen, the result of each arm, means, limits, diverged trials,
    and versions. Facts missing from the records are left out.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> text = paper_paragraph(synthetic_study(("relu", "elu"), effects={"elu": 2.0}))
        >>> print(text.split(". ")[0])
        We compared elu with relu on synthetic (1,437 images for training and validation, 360 for testing; \
images of 8 x 8 pixels)
        >>> "elu helped: +2.19 points (95 % CI +1.61 to +2.87; n = 10 seeds; p = 0.002)." in text
        True
    """
    return paragraph_of(study_info(study))


def paragraph_of(info: StudyInfo) -> str:
    """Return the paragraph of `paper_paragraph`, given the facts about a study."""
    study, analysis = info.study, info.analysis
    if not analysis.primary:
        return f"The study has only its control, {study.control}; there is nothing to compare."
    sentences = [
        *_incomplete(info),
        _what(study, analysis),
        *_training(study),
        _seeds(study, analysis),
        _statistics(study, analysis),
        _margin(study),
        *(_result(contrast) for contrast in analysis.primary),
        *_means(study, analysis),
        *_limits(analysis),
        *_trouble(study, analysis),
        _versions(study),
    ]
    return " ".join(sentences)


def _incomplete(info: StudyInfo) -> Iterable[str]:
    ended = len(info.study.trials)
    if ended < info.planned:
        most, runs = "at most " if info.most else "", "trials" if info.study.tested else "runs"
        yield f"PRELIMINARY: {ended} of {most}{info.planned} {runs} have ended."


def _what(study: StudyRecord, analysis: Analysis) -> str:
    arms: dict[str, list[str]] = {}
    for contrast in analysis.primary:
        arms.setdefault(contrast.control, []).append(contrast.arm)
    compared = ", and ".join(f"{listing(names)} with {control}" for control, names in arms.items())
    data, model = study.data, _table(study.spec, "model").get("name")
    sizes = ""
    if "train_and_validation_images" in data and "test_images" in data:
        trained, tested = data["train_and_validation_images"], data["test_images"]
        pixels = f"; {words}" if (words := image_words(study)) else ""
        sizes = f" ({trained:,} images for training and validation, {tested:,} for testing{pixels})"
    on = f" on {name}{sizes}" if (name := name_of_data(study)) else ""
    learned = sorted({trial.parameters - (trial.slope_parameters or 0) for trial in study.trials if trial.parameters})
    size = f" ({learned[0]:,} parameters, slopes aside)" if len(learned) == 1 else ""
    return f"We compared {compared}{on}{f', in the network {model}{size}' if model else ''}."


def _training(study: StudyRecord) -> Iterable[str]:
    train, tuned = _table(study.spec, "train"), tuning(study)
    if train.get("epochs") and not train.get("function") and study.tested:
        lengths = _own(study, "epochs", train["epochs"])
        own = "".join(f", {listing(names)} for {count(int(epochs), 'epoch')}" for epochs, names in lengths.items())
        length = f"{count(train['epochs'], 'epoch')}{_optimizer(train)}"
        yield f"Every trial trained for {length}{own and f', except{own[1:]}'}."
        yield from _settings(study, train, tuned=bool(tuned))
        if augmentation := study.data.get("augmentation"):
            yield augmentation_words(augmentation)
        yield from _starts(study)
    if tuned:
        seeds = max(len(cell.seeds) for cell in study.cells_of("tune"))
        rates, arms = tuned[0].rates, [arm.arm for arm in tuned]
        whose = "each arm" if len(arms) == len(study.arms) else listing(arms)
        yield (
            f"The learning rate of {whose} was the best of the same {len(rates)} rates between "
            f"{min(rates):g} and {max(rates):g}, by the mean validation {study.primary.title} over "
            f"{count(seeds, 'seed')} that are not used in the comparison"
            f"{_STABLE if _table(study.spec, 'tune').get('stable') else ''}."
        )


def _optimizer(train: Mapping[str, Any]) -> str:
    sgd = "SGD (Nesterov momentum)" if train.get("momentum") != 0 else "SGD"
    return f" with {sgd if train['optimizer'] == 'sgd' else 'AdamW'}" if train.get("optimizer") else ""


def _settings(study: StudyRecord, train: Mapping[str, Any], *, tuned: bool) -> Iterable[str]:
    """Yield a sentence about the optimizer's settings, with those that are known and the arms that have their own."""
    rates = _own(study, "lr", None if tuned else train.get("lr"))
    rate = f"{train['lr']:g}{_except(rates)}" if "lr" in train and not tuned else _for(rates)
    scale, decay = train.get("slope_lr_scale", 1), train.get("slope_weight_decay", 0)
    scales, decays = _own(study, "slope_lr_scale", scale), _own(study, "slope_weight_decay", decay)
    slopes = "".join(f", those of {listing(names)} {value:g}" for value, names in decays.items())
    parts = [
        f"batches of {train['batch_size']}" if "batch_size" in train else "",
        f"a {'peak ' if train.get('schedule') == 'one-cycle' else ''}learning rate of {rate}" if rate else "",
        f"a learning rate of slopes {scale:g} times that of weights{_except(scales)}" if scale != 1 or scales else "",
        f"momentum {train['momentum']:g}" if train.get("momentum") and train.get("optimizer") == "sgd" else "",
        f"weight decay {train['weight_decay']:g} (slopes {decay:g}{slopes})" if "weight_decay" in train else "",
        "a one-cycle schedule" if train.get("schedule") == "one-cycle" else "",
    ]
    if any(parts):
        yield f"Training used {listing([part for part in parts if part])}."
    yield from _shared_gradient(study, train)


def _shared_gradient(study: StudyRecord, train: Mapping[str, Any]) -> Iterable[str]:
    """Yield a sentence about the gradients of shared slopes where they are not the default in all arms."""
    rule = train.get("shared_gradient", "mean")
    own = _own(study, "shared_gradient", rule)
    if own or rule != "mean":
        others = "".join(f", except in {listing(names)} ({other})" for other, names in own.items())
        yield f"The gradient of a slope shared by all channels of a layer was the {rule} over the channels{others}."


def _own(study: StudyRecord, key: str, shared: float | str | None) -> dict[Any, list[str]]:
    """Return the arms whose own value of a setting of training is another than the shared one, by that value."""
    arms: dict[Any, list[str]] = {}
    for name, arm in study.arm_tables.items():
        if arm.get(key) not in (None, shared):
            arms.setdefault(arm[key], []).append(name)
    return arms


def _except(own: Mapping[float, list[str]]) -> str:
    return f" except {listing([f'{listing(names)} ({value:g})' for value, names in own.items()])}" if own else ""


def _for(own: Mapping[float, list[str]]) -> str:
    return ", ".join(f"{value:g} for {listing(names)}" for value, names in own.items())


def _starts(study: StudyRecord) -> Iterable[str]:
    arms: dict[tuple[str, str], list[str]] = {}
    for name, start in _started(study).items():
        arms.setdefault((start["take"], start["arm"]), []).append(name)
    for (take, donor), names in arms.items():
        taken = "learned slopes" if take == "slopes" else "final weights"
        yield f"In each seed, {listing(names)} started from the {taken} of {donor}, trained with the same seed."


def _started(study: StudyRecord) -> dict[str, Mapping[str, Any]]:
    """Return the starts of the arms that start from another arm, by name."""
    return {arm["name"]: arm["start"] for arm in study.arm_tables.values() if arm.get("start")}


def _seeds(study: StudyRecord, analysis: Analysis) -> str:
    if not study.paired:
        return "Runs of different arms were unrelated and were compared as independent samples."
    if study.looks:
        *_, last = study.looks
        number = (
            f"The number of seeds was adaptive, with at most {last} seeds per arm: results were examined after "
            f"{listing(study.looks)} seeds, as planned beforehand, and an arm with a verdict received no further seeds."
        )
    else:
        number = f"Each arm was trained with the same {count(len(study.seeds), 'seed')}."
    alone = [contrast.arm for contrast in analysis.primary if not contrast.paired]
    if analysis.pairing.broken or alone:
        return (
            f"{number} Arms were compared pair by pair, except for arms that did not start like the control: "
            f"{listing(alone or ['none'])}."
        )
    if not analysis.pairing.checked:
        return number
    same = "initial weights and the same batches" if _same_data(study) else "initial weights"
    arms = "all arms"
    if any(start["take"] == "weights" for start in _started(study).values()):
        arms = "arms that were compared with each other"
    return f"{number} Within a seed, {arms} started from the same {same}, so that they were compared pair by pair."


def _statistics(study: StudyRecord, analysis: Analysis) -> str:
    paired = {contrast.paired for contrast in analysis.primary}
    flips = "group-sequential sign-flip test" if study.looks else "sign-flip test"
    tests = [f"the exact two-sided {flips}"] if True in paired else []
    tests += ["the exact two-sided permutation test"] if False in paired else []
    of_runs = " for runs that are not paired" if len(tests) > 1 else ""
    adjusted = ", adjusted for repeated looks" if study.looks else ""
    tests_made = analysis.primary[0].tests
    corrected = f"corrected for {tests_made} comparisons by Holm's method" if tests_made > 1 else "without correction"
    base = "Student's t" if paired == {True} else "Welch's t" if paired == {False} else "Student's or Welch's t"
    return (
        f"The outcome was the {'final ' if study.tested else ''}{study.titled(study.primary)}; p values are from "
        f"{' or '.join(tests)}{of_runs}, {corrected} (level 0.05); intervals are 95 % confidence intervals of the mean "
        f"difference ({base}, widened for skewness{adjusted})."
    )


def _margin(study: StudyRecord) -> str:
    chosen = {True: ", chosen for this study", False: ", the default of the metric", None: ""}[study.margin_chosen]
    better = study.primary.better
    return (
        f"Differences of {amount(study.margin, study.primary.unit)} or more were regarded as relevant{chosen}; "
        f"{better} values are better."
    )


def _result(contrast: Contrast) -> str:
    """Return the result of one arm, with its difference, interval, number of seeds and corrected p value."""
    if contrast.difference is None:
        return f"{contrast.arm} has no result."
    digits, unit = contrast.digits, contrast.unit
    figures = [f"n = {contrast.basis}"]
    if contrast.interval is not None:
        low, high = contrast.interval
        figures.insert(0, f"95 % CI {low:+z.{digits}f} to {high:+z.{digits}f}")
    if contrast.p_holm is not None:
        figures.append(p_words(contrast.p_holm))
    difference = amount(f"{contrast.difference:+z.{digits}f}", unit)
    verdict = _VERDICTS.get(contrast.verdict)
    opening = f"{contrast.arm} {verdict}" if verdict else f"The result for {contrast.arm} was inconclusive"
    small = ", less than the relevant difference" if contrast.negligible and contrast.verdict != _SMALL else ""
    look = f", at the look after {contrast.look} seeds" if contrast.look and contrast.decided else ""
    return f"{opening}{small}{look}: {difference} ({'; '.join(figures)})."


def _means(study: StudyRecord, analysis: Analysis) -> Iterable[str]:
    """Yield a sentence with the mean and the standard deviation of each arm."""
    digits, unit = study.primary.digits, study.primary.value_unit
    means = [
        f"{arm.arm} {spread(arm.score_mean, arm.score_sd, digits)}"
        for arm in analysis.arms
        if arm.score_mean is not None
    ]
    if means:
        of = f" in {unit}" if unit else ""
        yield plain(f"Means and standard deviations over {'seeds' if study.paired else 'runs'}{of}: {listing(means)}.")


def _limits(analysis: Analysis) -> Iterable[str]:
    """Yield a sentence about each caution, with the arms that it concerns unless it concerns all."""
    arms: dict[str, list[str]] = {}
    for contrast in analysis.primary:
        for caution in contrast.cautions:
            arms.setdefault(caution.brief, []).append(contrast.arm)
    for brief, concerned in arms.items():
        whose = "" if len(concerned) == len(analysis.primary) else f" ({listing(concerned)})"
        yield f"Note that {brief}{whose}."


def _trouble(study: StudyRecord, analysis: Analysis) -> Iterable[str]:
    if diverged := [f"{arm.diverged} of {arm.finished} of {arm.arm}" for arm in analysis.arms if arm.diverged]:
        chance, metric = study.primary.chance, study.primary
        value = "were left out" if chance is None else f"counted as {metric.shown(chance, fewer=metric.digits)}"
        yield f"Trials that diverged ({listing(diverged)}) {value}."
    if failed := sum(arm.failed for arm in analysis.arms):
        yield f"{count(failed, 'trial')} failed for technical reasons and {'was' if failed == 1 else 'were'} left out."


def _versions(study: StudyRecord) -> str:
    used = list(study.environments.values())
    ours, torch = (list(dict.fromkeys(str(facts[key]) for facts in used if facts.get(key))) for key in _PACKAGES)
    beside = f" and PyTorch {listing(torch)}" if torch else ""
    if ours == [version()]:
        return plain(f"Trials and analysis were made with slopewise {version()}{beside}.")
    ran = f"Trials ran with slopewise {listing(ours)}{beside}; the" if ours else "The"
    return plain(f"{ran} analysis is by slopewise {version()}.")


def _same_data(study: StudyRecord) -> bool:
    return any(trial.data_digest for trial in study.trials)


def _table(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = spec.get(name)
    return table if isinstance(table, Mapping) else {}
