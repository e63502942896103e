"""Values of a setting in a study: its own value, and those of its factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slopewise.records import StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class Variant:
    """A study under one value of a setting.

    Attributes:
        value: Value of the setting; None if the spec does not name it.
        study: The study itself, or one of its cells as a study.
        cell: Key of the cell; empty for the study's own settings.
    """

    value: Any
    study: StudyRecord
    cell: str


def variants(study: StudyRecord, setting: str) -> list[Variant]:
    """Return the study itself, then each factor's cell that differs from it only in this setting (a dotted key)."""
    cells = [cell for cell in study.cells_of("factors") if cell.settings.keys() == {setting}]
    others = [Variant(cell.settings[setting], study.in_cell(cell), cell.key) for cell in cells]
    return [Variant(own_value(study, setting), study, ""), *others]


def own_value(study: StudyRecord, setting: str) -> Any:
    """Return the study's own value of a setting; None for settings of arms, and if the spec does not name it."""
    table: Any = study.spec
    for key in setting.split("."):
        table = table.get(key) if isinstance(table, dict) else None
    return table


def converged(study: StudyRecord, arm: str) -> dict[int, TrialRecord]:
    """Return the trials of an arm that finished and did not diverge, by seed."""
    return {
        trial.seed: trial
        for trial in study.trials
        if trial.arm == arm and trial.status == "finished" and not trial.diverged
    }


def rates_apart(study: StudyRecord, one: str, other: str) -> tuple[str, ...]:
    """Return a caution if two arms have different tuned rates, which they keep under the values of a factor.

    The rate of each is the best one without the factor; under it, a difference may be one of rates.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> rates_apart(synthetic_study(("relu", "elu")), "elu", "relu")
        ()
    """
    tuned = {trial.arm: trial.tuned_lr for trial in study.trials}
    rates = tuned.get(one), tuned.get(other)
    if rates[0] is None or rates[1] is None or rates[0] == rates[1]:
        return ()
    return (
        f"{one} and {other} keep the rates that were tuned without the factor, {rates[0]:g} and {rates[1]:g}, so that "
        "a difference may be one of rates",
    )
