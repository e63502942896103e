"""One arm of a study as the objective function of a search, such as Optuna's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, Protocol

from slopewise.errors import ModelError, SpecError
from slopewise.events import Ended, TrialKey
from slopewise.records import MetricRecord, TrialRecord, metrics_in
from slopewise.study._cells import FIRST_TUNING_SEED, cell_key, spec_of
from slopewise.study._preflight import Preflight, preflight
from slopewise.study._study import Study
from slopewise.study._terminable import Terminated
from slopewise.study.engines import attempt


class _SearchTrial(Protocol):
    """Part of `optuna.Trial` that `Objective` uses, besides the suggestions."""

    def report(self, value: float, step: int) -> None:
        """Record an intermediate value."""

    def should_prune(self) -> bool:
        """Return True if the trial should stop early."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store an attribute with the trial."""


class Objective:
    """Objective function of a search: the mean final validation score of one arm over a few tuning seeds.

    Search, sampler, pruner and storage are your own. slopewise trains with the suggested settings in the calling
    process, and writes nothing. Scores are those of the validation part, in the printed unit (accuracies in percent),
    on the seeds 1000000, 1000001, ..., which no study with `[tune]` may use for its own trials. After each seed, its
    score is reported with the position of the seed (0, 1, ...) as the step, so that pruners that pair steps, such as
    Optuna's `WilcoxonPruner`, compare trials seed by seed.

    Put the result into a study as the arm's `lr` and other settings. A fair comparison needs the same search for every
    arm; `[tune]` does this for learning rates.

    Args:
        study: Study that provides data, network and training.
        arm: Name of the arm.
        suggest: Function (trial) -> settings by dotted key, as in `[[factors]]`:
            ``lambda trial: {"train.lr": trial.suggest_float("lr", 1e-3, 1.0, log=True)}``.
        seeds: Number of tuning seeds per trial.

    Attributes:
        direction: Direction of the search, "maximize" or "minimize".

    Raises:
        SpecError: The study has no such arm, or has a `train.function`, or `seeds` is below 1.

    Example:
        >>> study = Study(arms="relu,prelu_channel", data={"train_size": 200}, train={"epochs": 1})
        >>> Objective(study, "prelu_channel", lambda trial: {"train.lr": trial.suggest_float("lr", 0.01, 1)}).seeds
        (1000000, 1000001, 1000002)

    With Optuna::

        search = optuna.create_study(direction=objective.direction, storage="sqlite:///mine.db")
        search.optimize(objective, n_trials=20)
    """

    def __init__(self, study: Study, arm: str, suggest: Callable[[Any], Mapping[str, Any]], *, seeds: int = 3) -> None:
        if not isinstance(study, Study):
            raise SpecError(f"study: give a Study, as of sw.Study or sw.load_spec, not a {type(study).__name__}")
        if arm not in (names := [own.name for own in study.spec.arms]):
            raise SpecError(f"arm: '{arm}' is none of the study's arms ({', '.join(names)})")
        if study.spec.train.function is not None:
            raise SpecError(
                "a study with a train.function has no validation score to optimise: call your function in the search"
            )
        if seeds < 1:
            raise SpecError(f"seeds: must be at least 1, got {seeds}")
        self.study, self.arm, self.suggest = study, arm, suggest
        self.seeds = tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds))

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Direction of the search."""
        return "maximize" if self._metric.better == "higher" else "minimize"

    def __call__(self, trial: _SearchTrial) -> float:
        """Train with the suggested settings, and return the mean score.

        Raises:
            SpecError: The spec is not valid with the suggested settings.
            ModelError: A training run failed; the message has its error.
            optuna.TrialPruned: The pruner stopped the trial, or a run diverged and the metric has no floor.
        """
        settings = self.suggest(trial)
        if not isinstance(settings, Mapping):
            raise SpecError(
                "suggest: the function must return the settings of a trial as a mapping, as in {'train.lr': 0.1}; it "
                f"returned {type(settings).__name__}"
            )
        cell = cell_key(dict(settings))
        spec_of(self.study.spec, TrialKey(self.arm, self.seeds[0], cell))
        scores: list[float] = []
        for number, seed in enumerate(self.seeds):
            ended = attempt(self.study.spec, TrialKey(self.arm, seed, cell), self._ready.data)
            if not isinstance(ended, Ended):
                raise Terminated
            record = ended.record
            score = self._score(record)
            if not math.isfinite(score):
                raise _pruned(f"seed {seed} diverged: {record.diverged_cause}")
            scores.append(score)
            trial.report(score, number)
            if number + 1 < len(self.seeds) and trial.should_prune():
                raise _pruned("stopped by the pruner")
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
