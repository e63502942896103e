"""Scores of slopewise's own tasks against scikit-learn, scipy and plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn import metrics as reference
from tests.study.tasks.hand import by_hand, make
from torch import Tensor

from slopewise.study.tasks import Classification, Multilabel, Regression, Restoration, Segmentation, Task
from slopewise.testing import check_task

Array = NDArray[Any]
CLASSES = ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "top5"]
TASKS: dict[str, tuple[Callable[..., Task], Any]] = {
    "classification": (Classification, "labels"),
    "multilabel": (Multilabel, "multilabel"),
    "segmentation": (Segmentation, "masks"),
    "regression": (Regression, "values"),
    "restoration": (Restoration, "images"),
}
LOSSES = [(name, loss) for name, (task, _) in TASKS.items() for loss in task.losses]  # type: ignore[attr-defined]


def scores_of(task: Task, output: Tensor, target: Tensor, cut: int = 7) -> dict[str, float]:
    scorer = task.scorer()
    for part, truth in zip(output.split(cut), target.split(cut), strict=True):
        scorer.update(part, truth)
    return {name: score.item() for name, score in scorer.compute().items()}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("name", "loss"), LOSSES)
def test_every_kind_and_loss_keeps_the_contract(name: str, loss: str) -> None:
    make_task, kind = TASKS[name]
    check_task(make_task(loss=loss), make(kind))


@pytest.mark.parametrize("metric", CLASSES)
def test_every_metric_of_classes_can_be_primary(metric: str) -> None:
    check_task(Classification(metrics=[metric]), make("labels"))


def test_volumes_keep_the_contract() -> None:
    check_task(Segmentation(include_background=True), make("masks", sizes=(4, 8, 8), count=12))


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    data = make("labels")
    task, output, truth = Classification(metrics=CLASSES).bind(data), 4 * noise(30, 7), data.test_targets
    guess, known = output.argmax(dim=1), output.double().softmax(dim=1).numpy()
    scores = scores_of(task, output, truth)
    assert scores["accuracy"] == reference.accuracy_score(truth, guess)
    assert scores["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, guess), rel=1e-12)
    assert scores["macro_f1"] == pytest.approx(reference.f1_score(truth, guess, average="macro"), rel=1e-12)
    auroc = reference.roc_auc_score(truth, known, multi_class="ovr", average="macro")
    assert scores["auroc"] == pytest.approx(auroc, rel=1e-6)
    assert scores["top5"] == pytest.approx(reference.top_k_accuracy_score(truth, known, k=5), rel=1e-12)


def test_recall_of_each_class_is_that_of_scikit_learn_and_nan_without_images() -> None:
    task = Classification().bind(make("labels"))
    output, truth = noise(30, 7), torch.arange(30) % 6
    scorer = task.scorer()
    scorer.update(output, truth)
    recall = scorer.by_class()["recall"]
    expected = reference.recall_score(truth, output.argmax(dim=1), average=None, labels=range(6), zero_division=0)
    np.testing.assert_allclose(recall[:6].numpy(), expected)
    assert recall[6].isnan()


def test_classes_without_images_are_left_out_of_means() -> None:
    task = Classification(metrics=["auroc", "balanced_accuracy", "macro_f1"]).bind(make("labels"))
    output, truth = noise(30, 7), torch.arange(30) % 6
    known = output.double().softmax(dim=1).numpy()
    scores = scores_of(task, output, truth)
    aurocs = [reference.roc_auc_score(truth == k, known[:, k]) for k in range(6)]
    assert scores["auroc"] == pytest.approx(np.mean(aurocs), rel=1e-6)
    recalls = reference.recall_score(truth, output.argmax(dim=1), average=None, labels=range(6), zero_division=0)
    assert scores["balanced_accuracy"] == pytest.approx(np.mean(recalls), rel=1e-12)
    f1 = reference.f1_score(truth, output.argmax(dim=1), average="macro", zero_division=0)
    assert scores["macro_f1"] == pytest.approx(f1, rel=1e-12)


def test_large_logits_do_not_tie() -> None:
    output, truth = 20 * noise(400, 3), torch.randint(0, 3, (400,), generator=torch.Generator().manual_seed(0))
    task = Classification(metrics=["auroc"]).bind(by_hand("labels", truth, truth))
    exact = output.double().softmax(dim=1).numpy()
    expected = reference.roc_auc_score(truth, exact, multi_class="ovr", average="macro")
    assert scores_of(task, output, truth, cut=1)["auroc"] == pytest.approx(expected, abs=1e-6)


def test_scores_of_several_labels_are_those_of_scikit_learn() -> None:
    data = make("multilabel")
    task, output, truth = Multilabel().bind(data), noise(30, 4), data.test_targets.clone()
    truth[:, 3] = 0  # nobody has it: no AUROC and no average precision
    known, guess = output.double().sigmoid().numpy(), (output > 0).numpy()
    scores = scores_of(task, output, truth, cut=1)
    assert scores["auroc"] == pytest.approx(reference.roc_auc_score(truth[:, :3], known[:, :3]), rel=1e-6)
    precision = reference.average_precision_score(truth[:, :3], known[:, :3])
    assert scores["map"] == pytest.approx(precision, rel=1e-6)
    f1 = reference.f1_score(truth, guess, average="macro", zero_division=0)
    assert scores["macro_f1"] == pytest.approx(f1, rel=1e-12)


def dice_by_hand(guess: Array, truth: Array, classes: list[int]) -> float:
    """Mean over images of the mean over the classes that are in either."""
    images = []
    for g, t in zip(guess, truth, strict=True):
        g, t = g[t != 255], t[t != 255]  # noqa: PLW2901
        pairs = [(g == k, t == k) for k in classes]
        images.append([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs if a.any() or b.any()])
    return float(np.mean([np.mean(one) for one in images if one]))


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("sizes", [(16, 16), (4, 8, 8)])
def test_dice_and_iou_are_those_of_plain_numpy(background: bool, sizes: tuple[int, ...]) -> None:
    data = make("masks", sizes=sizes)
    task, truth = Segmentation(include_background=background).bind(data), data.test_targets.clone()
    output = noise(9, 3, *sizes)
    truth[0], output[0, 0] = 0, 10  # nothing but background, in the mask and in the prediction
    truth[1, :2], truth[2] = 255, 1  # pixels that do not count; a mask of one class
    guess, array = output.argmax(dim=1).numpy(), truth.numpy()
    scores = scores_of(task, output, truth, cut=2)
    assert scores["dice"] == pytest.approx(dice_by_hand(guess, array, [0, 1, 2] if background else [1, 2]), rel=1e-6)
    counted = array != 255
    pairs = [((guess == k) & counted, (array == k) & counted) for k in range(3)]
    ious = [(a & b).sum() / (a | b).sum() for a, b in pairs]
    assert scores["iou"] == pytest.approx(np.mean(ious), rel=1e-12)
    scorer = task.scorer()
    scorer.update(output, truth)
    np.testing.assert_allclose(scorer.by_class()["iou"].numpy(), ious)


def test_losses_of_masks_leave_out_pixels_without_a_class() -> None:
    data = make("masks")
    output, truth = noise(4, 3, 16, 16), data.test_targets[:4].clone()
    truth[0, :3], truth[1] = 255, 255
    loss = Segmentation().bind(data).loss(output, truth, reduction="sum")
    each = [torch.nn.functional.cross_entropy(output[n : n + 1], truth[n : n + 1], ignore_index=255) for n in (0, 2, 3)]
    assert loss.item() == pytest.approx(sum(each).item(), rel=1e-6)  # an image without such pixels counts 0


def test_scores_of_values_are_in_their_units_and_those_of_scikit_learn() -> None:
    data = make("values")
    task, output, truth = Regression().bind(data), noise(20, 2), data.test_targets
    values = data.train_targets.double()
    guess = (values.mean(dim=0) + values.std(dim=0, correction=0) * output).numpy()
    scores = scores_of(task, output, truth, cut=3)
    assert scores["r2"] == pytest.approx(reference.r2_score(truth, guess), rel=1e-9)
    assert scores["mae"] == pytest.approx(reference.mean_absolute_error(truth, guess), rel=1e-9)
    assert scores["rmse"] == pytest.approx(np.sqrt(((guess - truth.numpy()) ** 2).mean()), rel=1e-9)


def ssim_by_hand(guess: Array, truth: Array) -> float:
    """Wang et al. 2004, of one channel: windows of 11 pixels around every pixel, the image mirrored."""

    def mean(image: Array) -> Array:
        return gaussian_filter(image, 1.5, radius=5, mode="mirror")

    a, b = mean(guess), mean(truth)
    aa, bb, ab = mean(guess**2) - a * a, mean(truth**2) - b * b, mean(guess * truth) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return float(((2 * a * b + c1) * (2 * ab + c2) / ((a * a + b * b + c1) * (aa + bb + c2))).mean())


def test_scores_of_images_are_those_of_plain_numpy() -> None:
    data = make("images", sizes=(24, 20))
    task, truth = Restoration().bind(data), data.test_targets.clone()
    truth[3] = 0.5  # a constant image
    output = truth + 0.2 * noise(*truth.shape)
    guess, array = output.clamp(0, 1).double().numpy(), truth.double().numpy()
    scores = scores_of(task, output, truth, cut=2)
    squared = ((guess - array) ** 2).mean(axis=(1, 2, 3))
    assert scores["psnr"] == pytest.approx(np.mean(10 * np.log10(1 / squared)), rel=1e-6)
    ssim = np.mean([ssim_by_hand(g[0], t[0]) for g, t in zip(guess, array, strict=True)])
    assert scores["ssim"] == pytest.approx(ssim, rel=1e-5)
    assert scores["l1"] == pytest.approx(np.abs(guess - array).mean(), rel=1e-9)


def test_images_without_error_count_as_100_db() -> None:
    data = make("images")
    output = data.test_targets.clone()
    output[1:] = output[1:] + 0.1 * noise(8, 1, 16, 16)
    scores = scores_of(Restoration(metrics=["psnr"]).bind(data), output, data.test_targets)
    others = scores_of(Restoration(metrics=["psnr"]).bind(data), output[1:], data.test_targets[1:])
    assert scores["psnr"] == pytest.approx((100 + 8 * others["psnr"]) / 9)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_that_is_not_finite_has_no_score(name: str, value: float) -> None:
    make_task, kind = TASKS[name]
    data = make(kind)
    task = make_task(metrics=CLASSES if name == "classification" else None).bind(data)
    shape = {"masks": (3, 16, 16), "images": (1, 16, 16)}.get(kind, (task.outputs(data),))
    output = noise(9, *shape)
    output[4].view(-1)[-1] = value
    assert all(np.isnan(score) for score in scores_of(task, output, data.test_targets[:9], cut=2).values())


@pytest.mark.parametrize(
    ("make_task", "kind", "expected"),
    [
        (Classification, "labels", {"accuracy": 1 / 7, "balanced_accuracy": 1 / 7, "auroc": 0.5}),
        (Multilabel, "multilabel", {"auroc": 0.5}),
        (Segmentation, "masks", {}),
        (Regression, "values", {"r2": 0.0}),
        (Restoration, "images", {}),
    ],
)
def test_chance_is_the_score_of_what_knows_the_training_targets_alone(
    make_task: Callable[..., Any], kind: Any, expected: dict[str, float]
) -> None:
    data = make(kind)
    truth, train = data.test_targets[torch.arange(len(data.test_targets))], data.train_targets
    for name in make_task().offers():
        primary = make_task(metrics=[name]).metrics(data)[0]
        assert primary.name == name
        if name in expected:
            assert primary.chance == pytest.approx(expected[name])
    if kind == "values":
        error = (truth.double() - train.double().mean(dim=0)).abs().mean().item()
        assert Regression(metrics=["mae"]).metrics(data)[0].chance == pytest.approx(error)
    if kind == "images":
        squared = (truth.double() - train.double().mean(dim=0)).square().flatten(1).mean(dim=1)
        assert Restoration().metrics(data)[0].chance == pytest.approx((-10 * squared.log10()).mean().item(), rel=1e-6)
    if kind == "masks":
        k = torch.bincount(train[train < 3]).argmax().item()
        constant = np.full(truth.shape, k)
        assert Segmentation().metrics(data)[0].chance == pytest.approx(dice_by_hand(constant, truth.numpy(), [1, 2]))
    if kind == "multilabel":
        share = truth.double().mean().item()
        assert Multilabel(metrics=["map"]).metrics(data)[0].chance == pytest.approx(share, rel=1e-6)
