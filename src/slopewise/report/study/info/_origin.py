"""Origin of a study's figures in words: its title, when its trials were trained, with which code, and on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from slopewise.drawing import count, listing
from slopewise.records import UNNAMED, StudyRecord

_NAMED = 2  # arms that a title names; more are counted


def study_title(study: StudyRecord) -> str:
    """Return the name that a study was given; for one without a name, its model, its data and its arms.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), seeds=1, epochs=1)
        >>> study.spec.update(name=UNNAMED, model={"name": "cnn"})
        >>> study_title(study)
        'cnn on synthetic: elu against relu'
    """
    name = str(study.spec.get("name") or UNNAMED)
    subject = _table(study, "train").get("function") or _table(study, "model").get("name")
    if name != UNNAMED or not subject:
        return "Activation study" if name == UNNAMED else name
    data = f" on {name_of_data(study)}" if name_of_data(study) else ""
    arms = [arm for arm in study.arms if arm != study.control]
    if not arms:
        return f"{subject}{data}: {study.control}"
    compared = listing(arms) if len(arms) <= _NAMED else count(len(arms), "arm")
    return f"{subject}{data}: {compared} against {study.control}"


def name_of_data(study: StudyRecord) -> str:
    """Return the name of a study's data: that of their folder or file, or else of their source; "" if unknown.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(seeds=1, epochs=1)
        >>> study.spec["data"] = {"source": "folder", "path": "pictures/photos"}
        >>> name_of_data(study)
        'photos'
    """
    path = str(_table(study, "data").get("path") or "")
    return PurePath(path).name or str(study.data.get("name") or "")


def image_words(study: StudyRecord) -> str:
    """Return the size of the images that the networks get, and that it is another than in the files; "" if unknown.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(seeds=1, epochs=1)
        >>> study.data.update(shape=[3, 32, 32], pictures={"usual_size": [80, 100], "reshaped": 9})
        >>> image_words(study)
        'images of 32 x 32 pixels, resized from mostly 80 x 100'
    """
    sizes = study.data.get("shape", ())[1:]
    if not sizes:
        return ""
    size, usual = (" x ".join(map(str, axes)) for axes in (sizes, study.data.get("pictures", {}).get("usual_size", ())))
    return f"images of {size} pixels{f', resized from mostly {usual}' if usual and usual != size else ''}"


def data_words(study: StudyRecord) -> str:
    """Return the name of a study's data with the size of its images; "" if the name is unknown."""
    name, images = name_of_data(study), image_words(study)
    return f"{name} ({images})" if name and images else name


def origin_words(study: StudyRecord) -> tuple[str, ...]:
    """Return sentences about when and with what the trials were trained, as far as the records tell.

    Example:
        >>> from dataclasses import replace
        >>> from slopewise.testing import synthetic_study
        >>> study = replace(synthetic_study(seeds=1, epochs=1), stored=(1795874400.0, 1795875000.0), environments={})
        >>> study.data["code"] = {"slopewise": ["1a2b3c4d5e6f"]}
        >>> study.data["augmentation"] = {"shift": 1, "flip": False, "erase": 0.0}
        >>> origin_words(study)
        ('Trained on 28 November 2026, 14:00 to 14:10 UTC, with slopewise at commit 1a2b3c4d5e6f.', \
'Augmentation: shifts of up to 1 pixel.')
    """
    if not study.tested:
        return ()
    when = f"on {_dates(*study.stored)}" if study.stored else ""
    code = listing([*_versions(study)] or [""])
    devices = listing([*dict.fromkeys(device_words(study, facts) for facts in study.environments.values())] or [""])
    parts = [part for part in (when, code and f"with {code}", devices and f"on {devices}") if part]
    augmentation = study.data.get("augmentation")
    return (
        *([f"Trained {', '.join(parts)}."] if parts else []),
        *([augmentation_words(augmentation)] if augmentation else []),
    )


def augmentation_words(augmentation: Mapping[str, Any]) -> str:
    """Return what is done to the training images, as resolved for the data.

    Example:
        >>> augmentation_words({"shift": 0, "flip": True, "erase": 0.25})
        'Augmentation: mirror images, a rectangle erased in 25 % of images.'
    """
    shift, flip, erase = (augmentation[key] for key in ("shift", "flip", "erase"))
    effects = [
        f"shifts of up to {count(shift, 'pixel')}" if shift else "",
        "mirror images" if flip else "",
        f"a rectangle erased in {100 * erase:g} % of images" if erase else "",
    ]
    return f"Augmentation: {', '.join(filter(None, effects)) or 'none'}."


def device_words(study: StudyRecord, facts: Mapping[str, Any]) -> str:
    """Return the device on which trials of an environment trained, which is not always the best one that it has.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study, facts = synthetic_study(seeds=1, epochs=1), {"cpu": "AMD EPYC", "threads": 2, "accelerator": "H100"}
        >>> study.spec["hardware"] = {"accelerator": "cpu"}
        >>> device_words(study, facts), device_words(synthetic_study(seeds=1, epochs=1), facts)
        ('the CPU (AMD EPYC, 2 threads a trial)', 'H100, or the CPU (AMD EPYC, 2 threads a trial)')
    """
    threads = f"{count(facts['threads'], 'thread')} a trial" if facts.get("threads") else ""
    named = ", ".join(str(fact) for fact in (facts.get("cpu"), threads) if fact)
    cpu = f"the CPU ({named})" if named else "the CPU"
    chosen, gpu = _table(study, "hardware").get("accelerator"), facts.get("accelerator")
    if _table(study, "train").get("function") or chosen is None:  # only the user's function knows
        return f"{gpu}, or {cpu}" if gpu else cpu
    if chosen == "mps":
        return "Apple's GPU"
    return str(gpu or "a CUDA GPU") if chosen == "cuda" or (chosen == "auto" and gpu) else cpu


def _versions(study: StudyRecord) -> Iterator[str]:
    code = study.data.get("code", {})
    used = [*study.environments.values()]
    for key, title in (("slopewise", "slopewise"), ("torch", "PyTorch")):
        versions = [*dict.fromkeys(str(facts[key]) for facts in used if facts.get(key))]
        commits = f" at commit {_commits(code[key])}" if code.get(key) else ""
        if versions or commits:
            yield f"{title}{f' {listing(versions)}' if versions else ''}{commits}"
    if project := code.get("project"):
        yield f"the project’s code at commit {_commits(project)}"


def _commits(names: Sequence[str]) -> str:
    beyond = {"-dirty-untracked": "local changes and untracked files", "-dirty": "local changes"}
    beyond["-untracked"] = "untracked files"
    texts = []
    for name in names:
        commit, dash, rest = name.partition("-")
        texts.append(f"{commit} with {beyond[dash + rest]}" if rest else commit)
    return listing(texts)


def _dates(first: float, last: float) -> str:
    """Return a span of time, with minutes if it lies within a day."""
    start, end = (datetime.fromtimestamp(seconds, UTC) for seconds in (first, last))
    days = [f"{moment.day} {moment:%B %Y}" for moment in (start, end)]
    if days[0] != days[1]:
        return f"{days[0]} to {days[1]}"
    minutes = [*dict.fromkeys(f"{moment:%H:%M}" for moment in (start, end))]
    return f"{days[0]}, {' to '.join(minutes)} UTC"


def _table(study: StudyRecord, name: str) -> Mapping[str, Any]:
    table = study.spec.get(name)
    return table if isinstance(table, Mapping) else {}
