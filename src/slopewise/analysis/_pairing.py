"""Check that the arms of each seed started alike, from the digests of their trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from slopewise.analysis._results import Caution, Pairing
from slopewise.errors import listed
from slopewise.records import StudyRecord, TrialRecord


def pairing(study: StudyRecord) -> Pairing:
    """Compare the digests of initial weights and data over the arms of each seed that should start alike.

    Arms that start from the final weights of the same arm should start like each other, but not like the other arms.
    """
    origins = _origins(study)
    seeds: dict[int, list[TrialRecord]] = defaultdict(list)
    for trial in study.trials:
        if trial.status == "finished":
            seeds[trial.seed].append(trial)
    several = sorted(seed for seed, trials in seeds.items() if len(trials) > 1)
    checked = [seed for seed in several if any(_digests(trial) != (None, None) for trial in seeds[seed])]
    return Pairing(
        checked=len(checked),
        broken=tuple(seed for seed in checked if _broken(seeds[seed], origins)),
        apart=tuple(seed for seed in several if _differ(trial.environment for trial in seeds[seed])),
    )


def _origins(study: StudyRecord) -> dict[str, str]:
    """Return the arm whose final weights an arm starts from, by name; arms with a fresh start are left out."""
    starts = {name: table.get("start") or {} for name, table in study.arm_tables.items()}
    return {name: start["arm"] for name, start in starts.items() if start.get("take") == "weights"}


def _broken(trials: Iterable[TrialRecord], origins: Mapping[str, str]) -> bool:
    groups: dict[str | None, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        groups[origins.get(trial.arm)].append(trial)
    return any(_differ(map(_digests, group)) for group in groups.values())


def unlike(arm: Mapping[int, TrialRecord], control: Mapping[int, TrialRecord]) -> tuple[int, ...]:
    """Return the seeds in which two arms did not start from the same weights and data, ascending.

    Trials without digests are taken to have started alike if neither has any: older studies, and tables with seeds.
    """
    return tuple(sorted(s for s in arm.keys() & control.keys() if _digests(arm[s]) != _digests(control[s])))


def unpaired_caution(arm: str, control: str, seeds: tuple[int, ...]) -> tuple[Caution, ...]:
    """Return a caution with the seeds in which the arms did not start alike, if there are any."""
    if not seeds:
        return ()
    named = f"seed{'s' if len(seeds) > 1 else ''} {listed([*map(str, seeds)])}"
    brief = f"{arm} and {control} did not start alike in {named}"
    text = (
        f"{brief} (other initial weights, or other data): their runs are compared as unpaired ones, which needs more "
        "of them for the same effect"
    )
    return (Caution("unpaired", text, f"{brief}, so that no runs are paired"),)


def _digests(trial: TrialRecord) -> tuple[str | None, str | None]:
    return trial.init_digest, trial.data_digest


def _differ(values: Iterable[object]) -> bool:
    return len(set(values)) > 1
