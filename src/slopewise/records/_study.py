"""Record of a study, and its counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slopewise.records._scores import MetricRecord
from slopewise.records._trial import TrialRecord


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
        trials: Finished and failed trials, in the plan's order; missing ones are absent.
        damaged: Names of stored items that are damaged; trials among them are absent from `trials`, too.
        paired: True if the trials of a seed started alike in all arms, so that they are compared pair by pair; False
            if seeds only number the runs of each arm.
        tested: True if final scores are of a test part; False if they are what a table says they are.
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

    @property
    def primary(self) -> MetricRecord:
        """Metric that the study's verdicts are about."""
        return self.metrics[0]

    @property
    def planned(self) -> int:
        """Number of trials in all; of runs that seeds only number, those that there are."""
        return len(self.arms) * len(self.seeds) if self.paired else len(self.trials)

    def titled(self, metric: MetricRecord) -> str:
        """Return the title of a metric's final scores in print: "test accuracy", or the title alone of a table's."""
        return f"test {metric.title}" if self.tested else metric.title

    def seed_name(self, seed: int) -> str:
        """Return a seed in print: the number, or the text that a table has in its place."""
        names = self.data.get("seed_names")
        return str(names[seed]) if names else str(seed)


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
    """Progress of a study: its title, the counts of its arms in the spec's order, and the names of damaged trials."""

    title: str
    arms: tuple[ArmCounts, ...]
    damaged: tuple[str, ...] = ()

    @property
    def planned(self) -> int:
        """Number of trials in the plan."""
        return self.ended + sum(arm.missing for arm in self.arms)

    @property
    def ended(self) -> int:
        """Number of trials that are stored."""
        return sum(arm.finished + arm.failed for arm in self.arms)
