"""An arm as the objective of a search: Optuna's own classes, and the scores that a study's tuning gives."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from slopewise.errors import SpecError
from slopewise.study import Objective, Study
from slopewise.testing import InProcessEngine

SMALL = {
    "data": {"train_size": 200},
    "train": {"epochs": 1},
    "monitor": {"every": 0},
    "model": {"options": {"width": 4}},
}
RATES = (0.02, 0.1)


def suggest(trial: optuna.Trial) -> dict[str, float]:
    return {"train.lr": trial.suggest_categorical("lr", RATES)}


def test_scores_are_those_of_the_same_cells_in_a_study(tmp_path: Path) -> None:
    study = Study(arms="relu,prelu_channel", seeds=1, **SMALL)
    objective = Objective(study, "prelu_channel", suggest, seeds=2)
    storage = f"sqlite:///{tmp_path / 'theirs.db'}"
    search = optuna.create_study(
        direction=objective.direction, storage=storage, sampler=optuna.samplers.GridSampler({"lr": RATES})
    )
    search.optimize(objective, n_trials=2)
    tuned = Study(arms="relu,prelu_channel", seeds=[1000000, 1000001], **SMALL,
                  factors=[{"setting": "train.lr", "values": RATES}])  # fmt: skip
    record = tuned.run(tmp_path / "study", engine=InProcessEngine()).record
    for trial in search.trials:
        (cell,) = (cell for cell in record.cells if cell.settings["train.lr"] == trial.params["lr"])
        scores = [t.score("validation", "accuracy") for t in cell.trials if t.arm == "prelu_channel"]
        assert [trial.intermediate_values[k] for k in (0, 1)] == [100 * score for score in scores]
        assert trial.value == sum(100 * score for score in scores) / 2
        assert trial.user_attrs == {"cell": cell.key}
    assert search.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_search_may_give_a_trial_up() -> None:
    class Never(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    objective = Objective(Study(arms="relu", seeds=1, **SMALL), "relu", suggest, seeds=2)
    search = optuna.create_study(direction=objective.direction, pruner=Never())
    search.optimize(objective, n_trials=1)
    assert search.trials[0].state == optuna.trial.TrialState.PRUNED
    assert len(search.trials[0].intermediate_values) == 1


def test_wrong_arguments() -> None:
    study = Study(arms="relu", seeds=1, **SMALL)
    spec: Any = study.spec
    nothing: Any = {}.get  # returns None for any trial
    with pytest.raises(SpecError, match=r"arm: 'elu' is none of the study's arms \(relu\)"):
        Objective(study, "elu", suggest)
    with pytest.raises(SpecError, match=r"study: give a Study, .* not a StudySpec"):
        Objective(spec, "relu", lambda trial: {})
    with pytest.raises(SpecError, match=r"suggest: the function must return .* it returned NoneType"):
        Objective(study, "relu", nothing)(nothing)
    with pytest.raises(SpecError, match="at least 1"):
        Objective(study, "relu", suggest, seeds=0)
    objective = Objective(study, "relu", lambda _: {"train.lrs": 1})
    with pytest.raises(SpecError, match=r"with train.lrs = 1: unknown key 'train.lrs'"):
        objective(optuna.create_study().ask())
