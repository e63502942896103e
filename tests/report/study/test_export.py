"""Records as files for other tools."""

import json
from pathlib import Path

from slopewise.report import EXPORTS
from slopewise.testing import synthetic_study


def test_json_is_strict_and_holds_scores_and_metrics(tmp_path: Path) -> None:
    study = synthetic_study(seeds=2, diverged={"relu": 1})
    (path,) = EXPORTS["json"](study, tmp_path / "study.json")
    read = json.loads(path.read_text(), parse_constant=lambda name: 1 / 0)
    assert [metric["name"] for metric in read["metrics"]] == ["accuracy", "loss"]
    rows = [[row["value"] for row in trial["scores"]] for trial in read["trials"]]
    assert rows == [[row.value for row in trial.scores] for trial in study.trials]
