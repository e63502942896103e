"""Protocol of a study: its settings, data and environments as rows of text, and the spec that repeats it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slopewise.records import StudyRecord
from slopewise.report.study.info._toml import to_toml

Facts = tuple[tuple[str, str], ...]  # rows of key and text
_LISTED = 20  # items of a list that are shown; the others are counted


@dataclass(frozen=True, slots=True)
class Protocol:
    """Protocol of a study.

    Attributes:
        settings: Settings that hold for all arms.
        treatments: Name of each arm, and its activation with the arm's own settings.
        data: Facts about the data and the model.
        environments: Facts about each environment, by its digest.
        toml: Spec as TOML, which repeats the study.
    """

    settings: Facts
    treatments: Facts
    data: Facts
    environments: dict[str, Facts]
    toml: str


def protocol(study: StudyRecord) -> Protocol:
    """Return the protocol of a study.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> protocol(synthetic_study(seeds=2)).treatments[:2]
        (('relu', 'relu'), ('leaky_relu', 'leaky_relu'))
    """
    sections = {key: value for key, value in study.spec.items() if isinstance(value, Mapping)}
    return Protocol(
        settings=tuple(_flat(sections)),
        treatments=tuple(_treatment(arm) for arm in study.spec.get("arms", ())),
        data=tuple(_flat(study.data)),
        environments={digest: tuple(_flat(facts)) for digest, facts in study.environments.items()},
        toml=to_toml(study.spec),
    )


def _treatment(arm: Mapping[str, Any] | str) -> tuple[str, str]:
    if isinstance(arm, str):
        return arm, arm
    own = {key: value for key, value in arm.items() if key not in ("name", "activation")}
    return arm["name"], ", ".join([arm["activation"], *(f"{key} = {text}" for key, text in _flat(own))])


def _item(value: Any) -> str:
    """Return an item of a list as text: a table, such as a metric, by its title or name, unit and definition."""
    if not isinstance(value, Mapping):
        return str(value)
    name, unit = value.get("title") or value.get("name"), value.get("value_unit") or value.get("unit")
    if name:
        shown = f"{name} ({unit})" if unit else str(name)
        return f"{shown}: {meaning}" if (meaning := value.get("definition")) else shown
    return "; ".join(f"{key} = {text}" for key, text in _flat(value))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested plain data as rows of dotted key and text; None and empty lists are left out."""
    for key, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)) and value:
            listed = ", ".join(map(_item, value[:_LISTED]))
            yield f"{prefix}{key}", f"{listed}, … ({len(value)} in all)" if len(value) > _LISTED else listed
        elif value is not None and value != []:
            yield f"{prefix}{key}", str(value)
