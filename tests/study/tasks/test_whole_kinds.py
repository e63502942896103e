"""Whole studies of the kinds of tasks: repeatable, continued, judged and shown by their own metrics."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.study.tasks.hand import make

from slopewise.study import Study, run_trial
from slopewise.study.data import ImageData
from slopewise.testing import untimed

SMALL: dict[str, Any] = {"arms": "relu,prelu_channel", "data": {"train_size": 40}, "train": {"epochs": 1}}
KINDS: dict[str, Any] = {"multilabel": "multilabel", "regression": "values"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "metric", "unit", "others"),
    [("restoration", "psnr", "dB", ["SSIM", "absolute error"]), ("segmentation", "dice", "points", ["mean IoU"])],
)
def test_a_study_with_nothing_but_a_kind_is_judged_shown_and_continued(
    tmp_path: Path, kind: str, metric: str, unit: str, others: list[str]
) -> None:
    Study(**SMALL, task={"kind": kind}, seeds=1).run(tmp_path, workers=1)
    results = Study(**SMALL, task={"kind": kind}, seeds=2).run(tmp_path, workers=1)
    contrast = results.contrasts()[0]
    assert (contrast.metric, contrast.unit, contrast.seeds) == (f"test_{metric}", unit, (0, 1))
    assert contrast.chance is not None
    assert not results.record.margin_chosen
    assert [trial.init_digest for trial in results.record.trials[::2]] == [
        trial.init_digest for trial in results.record.trials[1::2]
    ]
    page = results.report(tmp_path / "page.html").read_text()
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert all(word in text for word in others)
    assert all(each.definition[1:20] in text for each in results.record.metrics)
    assert ("IoU of each class" in text) == (kind == "segmentation")
    assert "ccuracy" not in text + str(results)


@pytest.mark.parametrize("kind", ["restoration", "segmentation"])
def test_a_trial_of_a_kind_repeats_to_the_bit(kind: str) -> None:
    spec = Study(**SMALL, task={"kind": kind}, seeds=1).spec
    first, second = (untimed(run_trial(spec, "prelu_channel", 0)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_on_rows_of_numbers_is_scored_by_all_its_metrics(kind: str) -> None:
    data: ImageData = make(KINDS[kind])
    spec = Study(arms="relu", seeds=1, margin=1, task={"kind": kind}, train={"epochs": 1, "batch_size": 8}).spec
    trial = run_trial(spec, "relu", 0, data)
    names = {row.metric for row in trial.scores if row.epoch is None and row.part == "test"}
    assert names == {"loss"} | {"multilabel": {"auroc", "map", "macro_f1"}, "regression": {"r2", "mae", "rmse"}}[kind]


def test_data_of_another_kind_are_refused_in_one_line(cli: Any) -> None:
    ran = cli("run", "--task", "regression", "--arms", "relu", "--seeds", "1")
    assert ran.returncode == 2
    assert "data 'digits' has " in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
