"""A task of a user, in one file: the label as a number, guessed by one output. No other file names it."""

import re
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.records import MetricRecord
from slopewise.study import Study
from slopewise.study.data import ImageData, load_data
from slopewise.study.tasks import Scorer, Task
from slopewise.testing import check_task


class Counting(Task):
    """Regression of the label by the squared error, scored by the mean absolute error."""

    loss_metric = MetricRecord("loss", "squared error", "squared steps", "lower")

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def metrics(self, data: ImageData) -> tuple[MetricRecord, ...]:
        labels = data.train_targets.double()
        chance = self.scale * (labels - labels.median()).abs().mean().item()
        return (MetricRecord("mae", "absolute error", "steps", "lower", digits=3, chance=chance),)

    def outputs(self, data: ImageData) -> int:
        return 1

    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:
        fits = isinstance(output, Tensor) and tuple(output.shape) == (len(target), 1)
        return None if fits else f"numbers ({len(target)}, 1) (images, 1)"

    def loss(self, output: Tensor, target: Tensor, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
        return F.mse_loss(output[:, 0], self.scale * target.to(output.dtype), reduction=reduction)

    def scorer(self) -> Scorer:
        return AbsoluteError(self.scale)


class AbsoluteError(Scorer):
    def __init__(self, scale: float) -> None:
        self.scale, self.errors = scale, []

    def update(self, output: Tensor, target: Tensor) -> None:
        self.errors.append((output[:, 0].double() - self.scale * target).abs())

    def compute(self) -> dict[str, Tensor]:
        return {"mae": torch.cat(self.errors).mean()}


def test_it_keeps_the_contract() -> None:
    check_task(Counting(scale=0.5), load_data(Study().spec.data))


def test_a_study_of_it_is_judged_shown_and_stored_by_its_own_metric(tmp_path: Path) -> None:
    task = {"kind": f"{__name__}:Counting", "options": {"scale": 0.5}}
    study = Study(
        arms="relu,prelu_channel",
        seeds=2,
        margin=0.1,
        task=task,
        data={"train_size": 200},
        train={"epochs": 2, "lr": 0.002},
    )
    results = study.run(tmp_path / "s", workers=1)
    contrast, page = results.contrasts()[0], results.report(tmp_path / "page.html").read_text()
    assert (contrast.metric, contrast.unit, contrast.better) == ("test_mae", "steps", "lower")
    assert contrast.chance == pytest.approx(1.25, abs=0.1)  # labels 0 to 9, halved
    assert "test absolute error" in str(results)
    assert "Validation absolute error, steps" in page
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert not [word for word in ("ccuracy", "percentage", "±0.5 points") if word in str(results) + text]
