"""Record of a study, and its counts."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from slopewise.records._repeat import RepeatRecord
from slopewise.records._scores import MetricRecord
from slopewise.records._trial import TrialRecord

Role = Literal["tune", "map", "factors"]
"""Designs of a spec that have cells: learning rates tuned per arm, a sensitivity map, factors crossed with arms."""


@dataclass(frozen=True, slots=True)
class CellRecord:
    """Trials of a study under settings that differ from the study's own; they apply to all arms of the cell.

    Attributes:
        key: Name of the cell: its settings as the inside of a TOML inline table, such as `train.lr = 0.1`.
        settings: Settings by dotted key: keys of the spec (`train.lr`, `data.train_size`, `model.options.batch_norm`)
            and, with the prefix `arm.`, keys of the trial's arm (`arm.options.init`).
        roles: Designs that the cell belongs to.
        arms: Names of the arms, in the spec's order.
        seeds: Seeds of the trials. The role "tune" never uses the study's own seeds.
        trials: Finished and failed trials, in the plan's order; missing ones are absent.
    """

    key: str
    settings: dict[str, Any]
    roles: tuple[Role, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: tuple[TrialRecord, ...] = ()


UNNAMED = "PReLU study"  # name of a spec whose user has chosen none


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study in its present state: its spec, its environments, and the trials that have ended.

    Attributes:
        arms: Names of all arms, in the spec's order.
        control: Name of the arm that the others are compared with.
        seeds: All seeds of the plan.
        margin: Smallest difference in the primary metric on the test part that is of practical interest, in the
            metric's unit.
        margin_chosen: True if the user chose the margin, False if it is the metric's default; None in studies of
            earlier versions, which did not record it.
        metrics: Metrics of the study's task; the first is the primary one.
        spec: The whole spec as plain data (the contents of `study.toml` with defaults filled in).
        data: Facts of the data: name, digest, shape, sizes of the train, validation and test parts, classes.
        environments: Versions, CPU, operators and threads of every environment that trials ran in, by digest.
        trials: Finished and failed trials under the study's own settings, in the plan's order; missing ones are absent.
        damaged: Names of stored items that are damaged; trials among them are absent from `trials`, too.
        paired: True if the trials of a seed started alike in all arms, so that they are compared pair by pair; False
            if seeds only number the runs of each arm.
        tested: True if final scores are those of a test part; False if they come from an imported table.
        looks: Numbers of seeds after which an adaptive study decides which arms go on, ending with all seeds; empty in
            a fixed study.
        cells: Trials under other settings, by cell.
        repeats: Trials that were trained twice, in the order in which the second records came.
        stored: Times at which the first and the latest trial were stored, in seconds since 1970; None if they are
            unknown. Two studies that differ in nothing else are equal.
    """

    arms: tuple[str, ...]
    control: str
    seeds: tuple[int, ...]
    margin: float
    metrics: tuple[MetricRecord, ...]
    spec: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: tuple[TrialRecord, ...] = ()
    damaged: tuple[str, ...] = ()
    margin_chosen: bool | None = None
    paired: bool = True
    tested: bool = True
    looks: tuple[int, ...] = ()
    cells: tuple[CellRecord, ...] = ()
    repeats: tuple[RepeatRecord, ...] = ()
    stored: tuple[float, float] | None = field(default=None, compare=False)

    @property
    def primary(self) -> MetricRecord:
        """Metric that the study's verdicts are about."""
        return self.metrics[0]

    @property
    def arm_tables(self) -> dict[str, Mapping[str, Any]]:
        """Tables of the study's arms in its spec, by name; empty for a table of results, which has none."""
        tables = (table for table in self.spec.get("arms") or () if isinstance(table, Mapping))
        return {table["name"]: table for table in tables if table.get("name") in self.arms}

    @property
    def controls(self) -> tuple[str, ...]:
        """Arms that other arms are compared with (`control_of`), the study's control first."""
        return tuple(dict.fromkeys((self.control, *map(self.control_of, self.arms))))

    def control_of(self, arm: str) -> str:
        """Return the arm that an arm is compared with: the study's control, or the control's own continuation.

        An arm that starts from the final weights of another arm is compared with the arm that starts from the same
        weights, is trained for as many epochs, and has the control's activation. Without such an arm it is compared
        with the control, though the two do not start alike.

        Example:
            >>> start = {"arm": "relu", "take": "weights"}
            >>> arms = [{"name": "relu", "activation": "relu"}, {"name": "kept", "activation": "relu", "start": start},
            ...         {"name": "swapped", "activation": "elu", "start": start}]
            >>> study = StudyRecord(("relu", "kept", "swapped"), "relu", (0, 1), 0.5, (), {"arms": arms})
            >>> study.control_of("swapped"), study.control_of("kept"), study.controls
            ('kept', 'relu', ('relu', 'kept'))
        """
        return control_among(self.arm_tables.values(), self.control, arm)

    @property
    def planned(self) -> int:
        """Number of trials in all; of runs that seeds only number, those that there are."""
        return len(self.arms) * len(self.seeds) if self.paired else len(self.trials)

    @property
    def every_trial(self) -> tuple[TrialRecord, ...]:
        """All trials of the study: under its own settings, then those of its cells; each once."""
        every = (*self.trials, *(trial for cell in self.cells for trial in cell.trials))
        return tuple({(trial.arm, trial.seed, trial.cell): trial for trial in every}.values())

    def cells_of(self, role: Role) -> tuple[CellRecord, ...]:
        """Return the cells that belong to a design."""
        return tuple(cell for cell in self.cells if role in cell.roles)

    def in_cell(self, cell: CellRecord) -> StudyRecord:
        """Return a cell as a fixed study with the arms, seeds, trials and settings of the cell.

        The control is the study's control, or the first arm if the cell does not contain the control.

        Example:
            >>> arms = [{"name": "relu", "activation": "relu"}]
            >>> study = StudyRecord(("relu",), "relu", (0, 1), 0.5, (), {"arms": arms, "train": {"lr": 0.1}})
            >>> settings = {"train.lr": 0.2, "arm.options.init": 0.5}
            >>> cell = CellRecord("train.lr = 0.2", settings, ("map",), ("relu",), (7,))
            >>> inside = study.in_cell(cell)
            >>> inside.seeds, inside.spec["train"], inside.spec["arms"][0]["options"]
            ((7,), {'lr': 0.2}, {'init': 0.5})
        """
        return replace(
            self,
            arms=cell.arms,
            control=self.control if self.control in cell.arms else cell.arms[0],
            seeds=cell.seeds,
            trials=cell.trials,
            spec=_with_settings(self.spec, cell.settings),
            looks=(),
            cells=(),
        )

    def titled(self, metric: MetricRecord) -> str:
        """Return the title of a metric's final scores in print: "test accuracy", or the title alone of a table's."""
        return f"test {metric.title}" if self.tested else metric.title

    def seed_name(self, seed: int) -> str:
        """Return a seed in print: the number, or the text that a table has in its place."""
        names = self.data.get("seed_names")
        return str(names[seed]) if names else str(seed)


def control_among(arms: Iterable[Mapping[str, Any]], control: str, arm: str) -> str:
    """Return the arm that an arm is compared with, from the tables of a spec; see `StudyRecord.control_of`."""
    tables = {table["name"]: table for table in arms}
    own, base = tables.get(arm, {}), tables.get(control, {})
    if arm == control or (own.get("start") or {}).get("take") != "weights":
        return control
    alike = (
        name
        for name, table in tables.items()
        if name != arm and _same(table, own, "start", "epochs") and _same(table, base, "activation", "options")
    )
    return next(alike, control)


def _same(one: Mapping[str, Any], other: Mapping[str, Any], *keys: str) -> bool:
    return all((one.get(key) or None) == (other.get(key) or None) for key in keys)


def _with_settings(spec: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a spec with settings changed by dotted key; those of arms (`arm.`) change in every arm."""
    changed: dict[str, Any] = copy.deepcopy(dict(spec))
    for key, value in settings.items():
        *tables, last = key.split(".")
        roots = changed.get("arms", []) if tables[:1] == ["arm"] else [changed]
        for root in roots:
            table = root
            for name in tables[tables[:1] == ["arm"] :]:
                table = table.setdefault(name, {})
            table[last] = value
    return changed


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """Numbers of an arm's trials; `finished` includes the diverged ones."""

    arm: str
    finished: int
    diverged: int
    failed: int
    missing: int


@dataclass(frozen=True, slots=True)
class StudyCounts:
    """Progress of a study.

    Attributes:
        title: Title of the study.
        arms: Counts of its arms in the spec's order, over all cells.
        damaged: Names of damaged trials.
        most: Largest possible number of trials, if it depends on results; None if all planned trials will run.
        claimed: Number of trials that the drivers of a shared store are working on.
    """

    title: str
    arms: tuple[ArmCounts, ...]
    damaged: tuple[str, ...] = ()
    most: int | None = None
    claimed: int = 0

    @property
    def planned(self) -> int:
        """Number of trials in the plan."""
        return self.ended + sum(arm.missing for arm in self.arms)

    @property
    def ended(self) -> int:
        """Number of trials that are stored."""
        return sum(arm.finished + arm.failed for arm in self.arms)
