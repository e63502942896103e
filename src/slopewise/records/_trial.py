"""Record of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from slopewise.records._parts import (
    AlarmRecord,
    EpochRecord,
    GradientRecord,
    LayerScoreRecord,
    OperatorCostRecord,
    SiteRecord,
)
from slopewise.records._scores import Part, ScoreRecord

Status = Literal["finished", "failed"]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One training run: arm x seed, in the study's own cell or in another one.

    A trial that diverges is finished: it has `diverged_step` and `diverged_cause`, the epochs until then, and no
    final scores. A failed one has `error`, a traceback, and nothing else. Two runs of the same spec and seed on a
    CPU agree bitwise in every field but the times (`seconds`, `seconds_per_step`, `monitor_seconds`, `operator_costs`)
    and `attempts`.

    Attributes:
        steps: Number of optimizer steps taken; n - 1 if the loss is not finite at step n.
        seconds: Wall time of the whole trial, measurements included.
        seconds_per_step: Median of `EpochRecord.seconds_per_step` over all epochs but the first.
        monitor_seconds: Time that the monitor took during training; no `seconds_per_step` includes it.
        parameters: Number of learned numbers in the model.
        slope_parameters: Number of those that are slopes.
        init_digest: SHA-256 of the initial weights without the slopes. Equal in all arms of a seed, which pairs them.
        data_digest: SHA-256 of the split and of the first batch (augmented images and labels). Equal in all arms of a
            seed, too.
        environment: Key in `StudyRecord.environments` of the environment that the trial ran in.
        operator_costs: One record for the first seed of an arm whose network holds slopewise's layers, else none.
        alarms: Alarms that the monitor raised during training, in order.
        scores: Scores of the training and the validation part after every epoch, and of all three parts for the final
            weights. This is the only time that the test set is scored.
        layer_scores: Scores of the information about the image in the output of each layer; empty unless the spec asks
            for them.
        cell: Key of the trial's cell, see `CellRecord`; empty for the study's own settings.
        tuned_lr: Peak learning rate that tuning has chosen for the arm; None if the arm was not tuned.
        identity: Hash of all that the record depends on; trials of one identity have equal records, times aside. None
            for a failed trial, and in studies of earlier versions.
    """

    arm: str
    seed: int
    status: Status
    attempts: int = 1
    error: str | None = None
    diverged_step: int | None = None
    diverged_cause: str | None = None
    steps: int = 0
    seconds: float | None = None
    seconds_per_step: float | None = None
    monitor_seconds: float | None = None
    parameters: int | None = None
    slope_parameters: int | None = None
    init_digest: str | None = None
    data_digest: str | None = None
    environment: str | None = None
    epochs: tuple[EpochRecord, ...] = ()
    sites: tuple[SiteRecord, ...] = ()
    gradients: tuple[GradientRecord, ...] = ()
    operator_costs: tuple[OperatorCostRecord, ...] = ()
    alarms: tuple[AlarmRecord, ...] = ()
    scores: tuple[ScoreRecord, ...] = ()
    layer_scores: tuple[LayerScoreRecord, ...] = ()
    cell: str = ""
    tuned_lr: float | None = None
    identity: str | None = None

    @property
    def diverged(self) -> bool:
        """True if training ended early on a non-finite loss; of a table's run, if it has no finite score."""
        return self.diverged_step is not None or self.diverged_cause is not None

    def score(self, part: Part, metric: str, epoch: int | None = None) -> float | None:
        """Return a score; None if the trial has none.

        Args:
            part: Part of the data: "train", "validation" or "test".
            metric: Name of the metric, for instance "accuracy".
            epoch: Number of the epoch after which it was taken; None for the score of the final weights.

        Example:
            >>> trial = TrialRecord("relu", 0, "finished", scores=(ScoreRecord(None, "test", "accuracy", 0.97),))
            >>> trial.score("test", "accuracy"), trial.score("test", "loss")
            (0.97, None)
        """
        rows = (row for row in self.scores if row.epoch == epoch and row.part == part and row.metric == metric)
        return next((row.value for row in rows), None)

    def curve(self, part: Part, metric: str) -> dict[int, float | None]:
        """Return the scores after each epoch, by the epoch's number."""
        rows = (row for row in self.scores if row.part == part and row.metric == metric)
        return {row.epoch: row.value for row in rows if row.epoch is not None}

    def final_scores(self) -> dict[tuple[Part, str], float | None]:
        """Return the scores of the final weights, by part and metric."""
        return {(row.part, row.metric): row.value for row in self.scores if row.epoch is None}

    def columns(self, part: str, *names: str, last: int | None = None) -> tuple[Sequence[Any], ...]:
        """Return fields of the rows of one part, a sequence for each name.

        A trial that was read from a store decodes these columns alone, and makes no record of any row.

        Args:
            part: Name of the part, a key of `TRIAL_PARTS`.
            names: Names of fields of its rows.
            last: Number of rows, from the end; None for all rows.

        Example:
            >>> rows = (EpochRecord(0, 0, None, None), EpochRecord(1, 20, 0.1, None))
            >>> TrialRecord("relu", 0, "finished", epochs=rows).columns("epochs", "epoch", "step")
            ([0, 1], [0, 20])
        """
        rows = getattr(self, part)
        rows = rows if last is None else rows[len(rows) - last :]
        return tuple([getattr(row, name) for row in rows] for name in names)

    def renamed(self, arm: str) -> TrialRecord:
        """Return the trial under the name of another arm."""
        copy = object.__new__(type(self))  # slot by slot, ten times as fast as `dataclasses.replace`
        for name, slot in TRIAL_SLOTS.items():
            slot.__set__(copy, arm if name == "arm" else slot.__get__(self))
        return copy


# Descriptors of the fields themselves: trials are frozen, and those of the store decode a field when it is read.
TRIAL_SLOTS: dict[str, Any] = {field.name: TrialRecord.__dict__[field.name] for field in fields(TrialRecord)}


TRIAL_PARTS = {
    "epochs": EpochRecord,
    "sites": SiteRecord,
    "gradients": GradientRecord,
    "operator_costs": OperatorCostRecord,
    "alarms": AlarmRecord,
    "scores": ScoreRecord,
    "layer_scores": LayerScoreRecord,
}
"""Fields of a `TrialRecord` that hold records; each has a table of its own in the store and in exports."""
