"""Check that a spec may resume the study in a folder: only arms, seeds and trials of cells may be added."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from slopewise.errors import SlopewiseWarning, StoreError, listed
from slopewise.records import MetricRecord, amount
from slopewise.study._bounds import one_line
from slopewise.study._cells import designed_cells
from slopewise.study._folders import another_folder
from slopewise.study._margin import least_margin, margin_of
from slopewise.study._spec import StudySpec
from slopewise.support import quoted

# The places of the data, the checkpoint and the images in use may change. Their contents may not: the store compares
# their digests. What an engine reserves for a trial decides where it runs, and no bit of its result.
FREE = {
    "name", "data.path", "data.memory_gib", "model.checkpoint", "hardware.cpus_per_trial", "hardware.gpus_per_trial",
}  # fmt: skip


def check_same(old: StudySpec, new: StudySpec, folder: str | Path, metric: MetricRecord) -> None:
    """Refuse a spec that would mix two studies in one folder.

    The margin is chosen before the study and must stay. The exception is a margin below the least one, which earlier
    versions of slopewise accepted, although no difference could lie within it: it may change, with a warning. A floor
    may be added, since the need for it shows when a trial diverges.

    Args:
        old: Spec of the study in the folder.
        new: Spec of the study that is to go on there.
        folder: Folder of the study, for messages.
        metric: Primary metric of the study in the folder.

    Raises:
        StoreError: The specs differ in other ways; the message lists the differences.

    Warns:
        SlopewiseWarning: The margin has changed.
    """
    if bool(old.until_decided) != bool(new.until_decided):
        why = (
            "has a fixed number of seeds, and cannot become adaptive (until_decided) once results may be known: "
            "unplanned repeated looks find differences that do not exist"
            if new.until_decided
            else "is adaptive (until_decided), and cannot get a fixed number of seeds: its error rate holds only for "
            "the planned looks"
        )
        raise StoreError(f"the study in '{folder}' {why}: {another_folder(folder)}, or give the old settings")
    if differences := spec_differences(old, new, metric):
        raise StoreError(
            f"'{folder}' holds another study: {one_line(differences, len(differences))}. Only new arms and seeds can "
            f"be added to it: {another_folder(folder)}, or give the old settings"
        )
    was, now = margin_of(old, metric), margin_of(new, metric)
    if was != now:
        warnings.warn(
            f"the study in '{folder}' had a margin of {amount(was, metric.unit)}, less than the least of "
            f"{least_margin(metric):g}; it is {now:g} from now on, which was not chosen before the study: say so where "
            "you report it",
            SlopewiseWarning,
            stacklevel=2,
        )


def check_data(old: dict[str, Any], new: dict[str, Any], folder: str | Path) -> None:
    """Refuse other data, or another checkpoint, than those that a study was begun with.

    Raises:
        StoreError: A digest differs.
    """
    for what, key in (("data", "digest"), ("checkpoint", "checkpoint_digest")):
        was, now = old.get(key) or "none", new.get(key) or "none"
        if was != now:
            raise StoreError(
                f"the {what} changed since '{folder}' was begun (digest {was[:12]}, now {now[:12]}): give the "
                f"old {what}, or {another_folder(folder)}"
            )


def united(old: StudySpec, new: StudySpec) -> StudySpec:
    """Return a spec with the arms of both, the old ones first: what a store holds that several drivers share.

    In studies to which no arms can be added, none can be left out either.

    Example:
        >>> old, new = StudySpec(arms="relu,elu", seeds=2), StudySpec(arms="relu,silu", seeds=2)
        >>> [arm.name for arm in united(old, new).arms]
        ['relu', 'elu', 'silu']
    """
    if _closed(old):
        return new
    ours = {arm.name: arm for arm in new.arms}
    theirs = [ours.get(arm.name, arm) for arm in old.arms]
    names = {arm.name for arm in theirs}
    return new.model_copy(update={"arms": (*theirs, *(arm for arm in new.arms if arm.name not in names))})


def spec_differences(old: StudySpec, new: StudySpec, metric: MetricRecord) -> list[str]:
    """Return descriptions of the differences that keep two specs from being one study.

    A margin that is not given is the default of the metric.

    Example:
        >>> from slopewise.records import classification_metrics
        >>> old, accuracy = StudySpec(arms="relu", seeds=2), classification_metrics(10)[0]
        >>> spec_differences(old, StudySpec(arms="relu,elu", seeds=3, margin=0.5), accuracy)
        []
        >>> spec_differences(old, StudySpec(arms="relu", seeds=1, margin=0.1), accuracy)
        ['margin was 0.5, now 0.1', 'seed 1 is gone']
    """
    before, after = ({**spec.model_dump(mode="json"), "margin": margin_of(spec, metric)} for spec in (old, new))
    arms_before, arms_after = ({arm["name"]: arm for arm in side.pop("arms")} for side in (before, after))
    seeds_before, seeds_after = (side.pop("seeds") for side in (before, after))
    for side in (before, after):  # cells may be added
        del side["map"], side["factors"]
    was, now = _flat(before), _flat(after)
    free = FREE | ({"margin"} if before["margin"] < least_margin(metric) else set())
    free |= {"floor"} if old.floor is None else set()
    words = [
        f"{key} was {quoted(was.get(key))}, now {quoted(now.get(key))}"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key) and key not in free
    ]
    designed = _designed(new)
    missing = (trial for trial in _designed(old) if trial not in designed)
    words += dict.fromkeys(f"trials of the {role} with {cell} are gone" for role, cell, *_ in missing)
    for name, arm in arms_before.items():
        if name not in arms_after:
            words.append(f"arm {name} is gone")
        elif arm != arms_after[name]:
            words.append(f"arm {name} was {_short(arm)}, now {_short(arms_after[name])}")
    words += [f"arm {name} is new, but {why}" for why in _closed(old)[:1] for name in arms_after.keys() - arms_before]
    if old.until_decided and (more := [str(seed) for seed in seeds_after if seed not in set(seeds_before)]):
        words.append(f"seeds {listed(more, 60)} are new, but {_closed(old)[0]}")
    seeds = set(seeds_after)
    if gone := [str(seed) for seed in seeds_before if seed not in seeds]:
        words.append(f"seed{'s' * (len(gone) > 1)} {listed(gone, 60)} {'are' if len(gone) > 1 else 'is'} gone")
    return words


def _designed(spec: StudySpec) -> dict[tuple[str, str, str, int], None]:
    """Return the trials of the map and the factors as (role, cell, arm, seed): the keys of the dict, in order."""
    cells = ((role, cell) for cell in designed_cells(spec) for role in cell.roles)
    return dict.fromkeys(
        (role, cell.key, arm, seed) for role, cell in cells for arm in cell.arms for seed in cell.seeds
    )


def _closed(spec: StudySpec) -> list[str]:
    """Return the reasons why arms cannot be added to a study; empty if they can."""
    looks = ["the looks and their error rate were planned for the given arms and seeds"] * bool(spec.until_decided)
    return looks + ["the learning rates of all arms were tuned together"] * bool(spec.tune)


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _short(arm: dict[str, Any]) -> str:
    return ", ".join(
        f"{key}={quoted(value)}" for key, value in arm.items() if key != "name" and value not in (None, {})
    )
