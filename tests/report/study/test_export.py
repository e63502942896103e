"""Records as files for other tools."""

import csv
import io
import json
from pathlib import Path

from slopewise.report import EXPORTS
from slopewise.testing import synthetic_study, with_cells


def test_json_is_strict_and_holds_scores_and_metrics(tmp_path: Path) -> None:
    study = synthetic_study(seeds=2, diverged={"relu": 1})
    (path,) = EXPORTS["json"](study, tmp_path / "study.json")
    read = json.loads(path.read_text(), parse_constant=lambda name: 1 / 0)
    assert [metric["name"] for metric in read["metrics"]] == ["accuracy", "loss"]
    rows = [[row["value"] for row in trial["scores"]] for trial in read["trials"]]
    assert rows == [[row.value for row in trial.scores] for trial in study.trials]


def test_tables_hold_the_trials_of_all_cells_and_results_those_of_the_study(tmp_path: Path) -> None:
    study = with_cells(synthetic_study(("relu", "prelu"), seeds=2, epochs=1), tune=[0.1, 0.2], lr=[0.1], init=[0.5])
    EXPORTS["csv"](study, tmp_path)
    texts = {name: (tmp_path / f"{name}.csv").read_text() for name in ("results", "trials", "scores")}
    read = {name: list(csv.DictReader(io.StringIO(text, newline=""))) for name, text in texts.items()}
    every = [*study.trials, *(trial for cell in study.cells for trial in cell.trials)]
    assert len(read["results"]) == len(study.trials) == 4
    assert [(row["arm"], row["seed"], row["cell"]) for row in read["trials"]] == [
        (trial.arm, str(trial.seed), trial.cell) for trial in every
    ]
    assert [(row["cell"], float(row["value"])) for row in read["scores"]] == [
        (trial.cell, row.value) for trial in every for row in trial.scores
    ]
