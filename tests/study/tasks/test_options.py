"""Options of slopewise's own tasks: metrics and losses that a spec chooses, or brings along."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.study.tasks.hand import make
from torch import Tensor

from slopewise.errors import ModelError, SpecError
from slopewise.study import StudySpec, run_trial
from slopewise.study.data import ImageData
from slopewise.study.tasks import TaskSpec, make_task
from slopewise.testing import check_task

HERE = __name__
DIGITS = {"source": "digits"}  # never read: the data are made by hand
KINDS: dict[str, Any] = {
    "classification": "labels",
    "multilabel": "multilabel",
    "segmentation": "masks",
    "regression": "values",
    "restoration": "images",
}


def worst_error(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).flatten(1).abs().amax(dim=1)


def squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


def cubed_of_images(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).flatten(1).abs().pow(3).mean(dim=1)


def a_number(output: Tensor, target: Tensor) -> float:
    return 1.0


def detached(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean().detach()


def raising(output: Tensor, target: Tensor) -> Tensor:
    raise KeyError("no such thing")


def scores_of(spec: TaskSpec, data: ImageData) -> dict[str, float]:
    scorer = make_task(spec).bind(data).scorer()
    output = data.test_targets.float() + 0.1
    for part, truth in zip(output.split(4), data.test_targets.split(4), strict=True):
        scorer.update(part, truth)
    return {name: score.item() for name, score in scorer.compute().items()}


def test_a_users_metric_stands_beside_slopewises_own_or_first() -> None:
    worst = {"name": "worst", "call": f"{HERE}:worst_error", "better": "lower", "scale": 255, "margin": 2.0}
    worst |= {"unit": "grey levels", "floor": 128, "digits": 1, "title": "worst error"}
    data = make("images")
    task = make_task(TaskSpec(kind="restoration", options={"metrics": [worst, "psnr"]}))
    first, second = task.metrics(data)
    assert (first.name, first.title, first.unit, first.margin, first.better) == (
        "worst",
        "worst error",
        "grey levels",
        2.0,
        "lower",
    )
    assert first.chance == pytest.approx(128 / 255)
    assert HERE in first.definition
    assert (second.name, second.chance) == ("psnr", None)
    check_task(task, data)
    scores = scores_of(TaskSpec(kind="restoration", options={"metrics": [worst, "psnr"]}), data)
    assert scores["worst"] == pytest.approx(0.1, rel=1e-5)


def test_a_class_of_torchmetrics_is_a_metric() -> None:
    ours = {"name": "mse", "call": "torchmetrics.regression:MeanSquaredError", "better": "lower"}
    task = TaskSpec(kind="restoration", options={"metrics": [ours]})
    assert make_task(task).metrics(make("images"))[0].chance is None
    assert scores_of(task, make("images"))["mse"] == pytest.approx(0.01, rel=1e-4)
    root = {"rmse": {"call": ours["call"], "better": "lower", "options": {"squared": False}}}
    scores = scores_of(TaskSpec(kind="restoration", options={"metrics": root}), make("images"))
    assert scores["rmse"] == pytest.approx(0.1, rel=1e-4)


def test_margin_and_floor_of_a_known_metric_may_be_stated() -> None:
    spec = TaskSpec(kind="restoration", options={"metrics": [{"name": "psnr", "margin": 0.05, "floor": 10}]})
    (psnr,) = make_task(spec).metrics(make("images"))
    assert (psnr.margin, psnr.chance, psnr.unit) == (0.05, 10, "dB")


@pytest.mark.parametrize("loss", [f"{HERE}:squared", f"{HERE}:cubed_of_images", "torch.nn:SmoothL1Loss"])
@pytest.mark.parametrize("kind", ["regression", "restoration"])
def test_a_users_loss_keeps_the_contract(kind: str, loss: str) -> None:
    check_task(make_task(TaskSpec(kind=kind, options={"loss": loss})), make(KINDS[kind]))


def test_a_study_trains_on_a_users_loss() -> None:
    def final(options: dict[str, Any]) -> list[float | None]:
        spec = StudySpec(
            arms="relu",
            seeds=1,
            task={"kind": "restoration", "options": options},
            data=DIGITS,
            train={"epochs": 1, "batch_size": 8},
        )
        return [row.value for row in run_trial(spec, "relu", 0, make("images")).scores if row.metric == "psnr"]

    assert final({"loss": f"{HERE}:squared"}) == pytest.approx(final({"loss": "mse"}), rel=1e-4)
    assert final({"loss": f"{HERE}:squared"}) != pytest.approx(final({"loss": "l1"}), rel=1e-4)


def of_three(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    return ((output - target) * mask).square().mean()


OWN = {"name": "x", "call": f"{HERE}:squared", "better": "lower"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("restoration", {"los": "l1"}, "unknown key 'task.options.los' of task 'restoration'; did you mean 'loss'"),
    ("restoration", {"loss": f"{HERE}:of_three"}, "is called with (output, target), which does not fit it: missing a"),
    ("restoration", {"loss": "l3"}, "task.options.loss: unknown loss 'l3'; did you mean 'l1'"),
    ("restoration", {"loss": "nomodule:f"}, "cannot import module 'nomodule' of 'nomodule:f'"),
    ("restoration", {"metrics": "psnr"}, "task.options.metrics: give a list of metrics"),
    ("restoration", {"metrics": []}, "task.options.metrics: give a list of metrics"),
    ("restoration", {"metrics": ["psnrr"]}, "task.options.metrics: unknown metric 'psnrr'; did you mean 'psnr'"),
    ("restoration", {"metrics": ["psnr", "psnr"]}, "task.options.metrics: 'psnr' stands twice"),
    ("restoration", {"metrics": [3]}, "give a table"),
    ("restoration", {"metrics": [{"call": "m:f"}]}, "a metric needs a name"),
    ("restoration", {"metrics": [{"name": "x", "call": "f"}]}, "task.options.metrics.x.call: give 'module:callable'"),
    ("restoration", {"metrics": [{"name": "x", "call": f"{HERE}:squared"}]}, "metrics.x.better: say which is better"),
    ("restoration", {"metrics": [{**OWN, "options": 3}]}, "metrics.x.options: give a table of keyword arguments"),
    ("restoration", {"metrics": [{**OWN, "unit": "%"}]}, "metrics.x.unit: a fraction that is printed in percent has"),
    ("restoration", {"metrics": [{**OWN, "unit": "points"}]}, "unit = 'points' and scale = 100"),
    ("restoration", {"metrics": {"psnr": {"scale": 2}}}, "metrics.psnr: 'scale' is fixed"),
    ("restoration", {"metrics": {"psnr": {"margin": "much"}}}, "metrics.psnr.margin: give a number, not 'much'"),
    ("restoration", {"metrics": {"psnr": {"margin": 0}}}, "metrics.psnr.margin: give a number above 0"),
    ("restoration", {"metrics": {"psnr": {"margn": 1}}}, "unknown key 'margn'; did you mean 'margin'"),
    ("segmentation", {"include_background": "no"}, "include_background: true or false"),
    ("classification", {"width": 3}, "unknown key 'task.options.width' of task 'classification'"),
]


@pytest.mark.parametrize(("kind", "options", "words"), REFUSED)
def test_wrong_options_are_refused(kind: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)) as caught:
        make_task(TaskSpec(kind=kind, options=options))
    assert "\n" not in str(caught.value)


def test_metrics_that_the_data_rule_out_are_refused() -> None:
    few = replace(make("labels"), classes=("a", "b", "c"))
    task = make_task(TaskSpec(options={"metrics": ["accuracy", "top5"]}))
    with pytest.raises(SpecError, match="top5 of 3 classes is always 100 %"):
        task.bind(few)
    task, small = make_task(TaskSpec(kind="restoration")), make("images", sizes=(8, 8))
    with pytest.raises(SpecError, match=r"SSIM compares windows of 11 x 11 pixels.*8 x 8.*metrics = \['psnr', 'l1'\]"):
        task.bind(small)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": f"{HERE}:a_number"}, "must return a scalar, or a number for each image, not float"),
        ({"loss": f"{HERE}:detached"}, "task 'regression': the loss has no gradient"),
        (
            {"metrics": [{"name": "x", "call": "torchmetrics:R2Score", "better": "higher", "options": {"a": 1}}]},
            "task.options.metrics.x: called with `options` and torchmetrics' own arguments (**kwargs) raised",
        ),
        ({"metrics": [{"name": "x", "call": f"{HERE}:squared", "better": "lower"}]}, "must return a number for each"),
        (
            {"metrics": [{"name": "x", "call": f"{HERE}:raising", "better": "lower"}]},
            "scoring 8 images raised KeyError",
        ),
    ],
)
def test_code_that_does_not_fit_is_refused_before_the_first_trial(
    options: dict[str, Any], words: str, rehearse: Callable[[StudySpec, ImageData], None]
) -> None:
    spec = StudySpec(arms="relu", seeds=1, margin=1, task={"kind": "regression", "options": options})
    with pytest.raises(SpecError, match=re.escape(words)) as caught:
        rehearse(spec, make("values"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "model", "words"),
    [
        ("segmentation", "cnn", "must return logits (8, 3, 16, 16) (images, classes, sizes of the masks) in training"),
        ("restoration", "unet", "must return images (8, 1, 32, 32) (images, channels, sizes of the targets)"),
        ("regression", "unet", "must return standardised values (8, 2) (images, values) in training, not (8, 2, 16"),
        ("multilabel", "unet", "must return logits (8, 4) (images, labels) in training, not (8, 4, 16, 16)"),
    ],
)
def test_preflight_says_which_output_fits(
    kind: str, model: str, words: str, rehearse: Callable[[StudySpec, ImageData], None]
) -> None:
    spec = StudySpec(arms="relu", seeds=1, margin=1, task={"kind": kind}, model={"name": model}, data=DIGITS)
    data = make(KINDS[kind])
    if kind == "restoration":
        train, test = data.train_targets.repeat(1, 1, 2, 2), data.test_targets.repeat(1, 1, 2, 2)
        data = replace(data, train_targets=train, test_targets=test)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        rehearse(spec, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["cnn", "torchvision:squeezenet1_1"])
def test_volumes_in_a_network_for_images_are_refused(
    model: str, rehearse: Callable[[StudySpec, ImageData], None]
) -> None:
    spec = StudySpec(arms="relu", seeds=1, task={"kind": "segmentation"}, model={"name": model}, data=DIGITS)
    with pytest.raises(ModelError, match="volumes of 4 x 8 x 8: is it a network for volumes") as caught:
        rehearse(spec, make("masks", sizes=(4, 8, 8)))
    assert "\n" not in str(caught.value)


@pytest.fixture
def rehearse(monkeypatch: pytest.MonkeyPatch) -> Callable[[StudySpec, ImageData], None]:
    """Run the checks before the first trial on given data."""
    from slopewise.study import _preflight

    def run(spec: StudySpec, data: ImageData) -> None:
        monkeypatch.setattr(_preflight, "load_data", lambda *_, **__: data)
        _preflight.preflight(spec)

    return run
