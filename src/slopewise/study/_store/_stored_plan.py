"""Plan of a study as stored in its file; some of its trials depend on earlier results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from slopewise.records import CellRecord, StudyRecord, TrialRecord

Key = tuple[str, int, str]  # arm, seed and cell of a trial


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """Plan of a study, as far as the results so far determine it.

    Attributes:
        planned: Number of trials by arm, over all cells, that have ended or are certain to run.
        most: Largest possible number of trials.
        cells: Cells other than the study's own settings, as plain data: key, settings, roles, arms, seeds.
    """

    planned: dict[str, int]
    most: int
    cells: tuple[dict[str, Any], ...] = field(default=())

    @classmethod
    def of_spec(cls, spec: Mapping[str, Any]) -> StoredPlan:
        """Return the plan of a study without cells, from its spec as plain data.

        Example:
            >>> StoredPlan.of_spec({"arms": [{"name": "relu"}], "seeds": [0, 1]})
            StoredPlan(planned={'relu': 2}, most=2, cells=())
        """
        planned = {arm["name"]: len(spec["seeds"]) for arm in spec["arms"]}
        return cls(planned, sum(planned.values()))

    @classmethod
    def of_record(cls, record: StudyRecord) -> StoredPlan:
        """Return the plan of a record with its cells; a run that resumes the study replaces it by its own plan."""
        return replace(cls.of_spec(record.spec), cells=plain(record.cells))

    @classmethod
    def of_file(cls, stored: Mapping[str, Any]) -> StoredPlan:
        """Return the plan from its stored plain data."""
        return cls(dict(stored["planned"]), stored["most"], tuple(stored["cells"]))

    def keys(self, spec: Mapping[str, Any]) -> set[Key]:
        """Return the key of every trial that the study may have."""
        own = {(arm["name"], seed, "") for arm in spec["arms"] for seed in spec["seeds"]}
        cells = {(arm, seed, cell["key"]) for cell in self.cells for arm in cell["arms"] for seed in cell["seeds"]}
        return own | cells

    def with_trials(self, trials: Iterable[TrialRecord]) -> tuple[CellRecord, ...]:
        """Return the cells, each with its trials among the given ones."""
        by_key = {(trial.arm, trial.seed, trial.cell): trial for trial in trials}
        return tuple(_cell(stored, by_key) for stored in self.cells)


def plain(cells: Iterable[CellRecord]) -> tuple[dict[str, Any], ...]:
    """Return the cells as plain data, without their trials."""
    names = [f.name for f in fields(CellRecord) if f.name != "trials"]
    return tuple({name: getattr(cell, name) for name in names} for cell in cells)


def _cell(stored: Mapping[str, Any], by_key: Mapping[Key, TrialRecord]) -> CellRecord:
    keys = [(arm, seed, stored["key"]) for seed in stored["seeds"] for arm in stored["arms"]]
    return CellRecord(
        stored["key"],
        dict(stored["settings"]),
        tuple(stored["roles"]),
        tuple(stored["arms"]),
        tuple(stored["seeds"]),
        tuple(by_key[key] for key in keys if key in by_key),
    )
