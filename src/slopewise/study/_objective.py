"""A study's arm as an objective for a search of the user's own, such as Optuna's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, Protocol

from slopewise.errors import ModelError, SpecError
from slopewise.events import TrialKey
from slopewise.records import MetricRecord, TrialRecord, metrics_in
from slopewise.study._cells import FIRST_TUNING_SEED, cell_key, spec_of
from slopewise.study._preflight import Preflight, preflight
from slopewise.study._study import Study
from slopewise.study.engines import attempt


class _SearchTrial(Protocol):
    """Part of `optuna.Trial` that is used besides its suggestions."""

    def report(self, value: float, step: int) -> None:
        """Take an intermediate value."""

    def should_prune(self) -> bool:
        """Return True to give the trial up."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a fact."""


class Objective:
    """Function from a trial of a search to the mean final validation score of one arm over a few tuning seeds.

    The search, its sampler, its pruner and its storage are yours; slopewise trains what it suggests, in this process,
    and writes nothing. Scores are those of the validation part, in the unit of print (accuracies in percent), on seeds
    1000000, 1000001, ..., on which no study of slopewise is judged. After each seed the score is reported with the
    seed's number as the step, so that a pruner which pairs steps, such as Optuna's `WilcoxonPruner`, compares trials
    seed by seed. Put the result into a study as the arm's `lr` and other settings; for a comparison of arms, search all
    of them alike, or use `[tune]`, which does.

    Args:
        study: The study whose data, network and training are meant.
        arm: Name of the arm.
        suggest: Function from the search's trial to settings by dotted key, as in `[[factors]]`:
            ``lambda trial: {"train.lr": trial.suggest_float("lr", 1e-3, 1.0, log=True)}``.
        seeds: Number of tuning seeds per trial.

    Attributes:
        direction: Direction of the search, "maximize" or "minimize".

    Raises:
        SpecError: The study has no such arm, or trains by a function of its own.

    Example:
        >>> study = Study(arms="relu,prelu_channel", data={"train_size": 200}, train={"epochs": 1})
        >>> Objective(study, "prelu_channel", lambda trial: {"train.lr": trial.suggest_float("lr", 0.01, 1)}).seeds
        (1000000, 1000001, 1000002)

    With Optuna::

        search = optuna.create_study(direction=objective.direction, storage="sqlite:///mine.db")
        search.optimize(objective, n_trials=20)
    """

    def __init__(self, study: Study, arm: str, suggest: Callable[[Any], Mapping[str, Any]], *, seeds: int = 3) -> None:
        if arm not in (names := [each.name for each in study.spec.arms]):
            raise SpecError(f"arm: '{arm}' is none of the study's arms ({', '.join(names)})")
        if study.spec.train.function is not None:
            raise SpecError("a study with a train.function has no validation score of its own: search by your function")
        if seeds < 1:
            raise SpecError(f"seeds: at least 1, but it is {seeds}")
        self.study, self.arm, self.suggest = study, arm, suggest
        self.seeds = tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds))

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Direction of the search."""
        return "maximize" if self._metric.better == "higher" else "minimize"

    def __call__(self, trial: _SearchTrial) -> float:
        """Train with what the search suggests, and return the mean score.

        Raises:
            SpecError: The settings make no valid spec.
            ModelError: A training has failed; the message is its error.
            optuna.TrialPruned: The search gives the trial up, or a training diverged and the metric has no floor.
        """
        cell = cell_key(dict(self.suggest(trial)))
        spec_of(self.study.spec, TrialKey(self.arm, self.seeds[0], cell))
        scores: list[float] = []
        for number, seed in enumerate(self.seeds):
            record = attempt(self.study.spec, TrialKey(self.arm, seed, cell), self._ready.data).record
            score = self._score(record)
            if not math.isfinite(score):
                raise _pruned(f"seed {seed} diverged: {record.diverged_cause}")
            scores.append(score)
            trial.report(score, number)
            if number + 1 < len(self.seeds) and trial.should_prune():
                raise _pruned("the search gave it up")
        trial.set_user_attr("cell", cell)
        return statistics.fmean(scores)

    @cached_property
    def _ready(self) -> Preflight:
        return preflight(self.study.spec)

    @property
    def _metric(self) -> MetricRecord:
        return metrics_in(self._ready.facts)[0]

    def _score(self, record: TrialRecord) -> float:
        if record.status == "failed":
            raise ModelError(f"arm '{self.arm}', seed {record.seed}, with {record.cell}: {record.error}")
        score = self._metric.chance if record.diverged else record.score("validation", self._metric.name)
        return math.nan if score is None else self._metric.scale * score


def _pruned(why: str) -> Exception:
    from optuna import TrialPruned

    return TrialPruned(why)
