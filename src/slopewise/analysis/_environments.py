"""Pairs whose trials ran in different environments: another processor, other versions, other operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from slopewise.analysis._results import Caution
from slopewise.records import StudyRecord, TrialRecord

_NAMED = 3  # facts that a note names


def apart(arm: Mapping[int, TrialRecord], control: Mapping[int, TrialRecord]) -> tuple[int, ...]:
    """Return the seeds in which two arms ran in different environments, in ascending order."""
    both = arm.keys() & control.keys()
    return tuple(sorted(seed for seed in both if arm[seed].environment != control[seed].environment))


def environment_caution(
    study: StudyRecord, arm: str, trials: Mapping[str, Mapping[int, TrialRecord]]
) -> tuple[Caution, ...]:
    """Return a caution with the seeds and the differing facts if pairs ran in different environments, else None."""
    control = study.control_of(arm)
    one, other = trials[arm], trials[control]
    if not (seeds := apart(one, other)):
        return ()
    facts = differing(study, [(one[seed].environment, other[seed].environment) for seed in seeds])
    named = "; ".join(facts[:_NAMED]) + (f" and {len(facts) - _NAMED} more facts" if len(facts) > _NAMED else "")
    of = f"{len(seeds)} of {len(one.keys() & other.keys())} seeds"
    brief = f"{arm} and {control} ran in different environments in {of}"
    text = f"{brief} ({named}): their step times are not compared, and their last bits may differ for that reason"
    return (Caution("other-environment", text, f"{brief} ({named})"),)


def differing(study: StudyRecord, pairs: Collection[tuple[str | None, str | None]]) -> list[str]:
    """Return the facts in which environments differ, each with its values, as in "cpu: 'EPYC' and 'Xeon'".

    Args:
        study: Records whose `environments` hold the facts by digest.
        pairs: Digests of the two environments of a pair.
    """
    values_by_fact: dict[str, list[Any]] = {}
    for digests in pairs:
        one, other = (study.environments.get(digest or "", {}) for digest in digests)
        for key in {**one, **other}:
            if one.get(key) != other.get(key):
                values = values_by_fact.setdefault(key, [])
                values += [value for value in (one.get(key), other.get(key)) if value not in values]
    if not values_by_fact:
        return ["what differs is not recorded"]
    return [f"{key}: {' and '.join(_short(value) for value in values)}" for key, values in values_by_fact.items()]


def _short(value: Any) -> str:
    """Return the value of a fact, or the name in it if it is a table."""
    return repr(value.get("name", value) if isinstance(value, Mapping) else value)
