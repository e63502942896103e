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
