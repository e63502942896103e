"""Conformance kit of tasks: the contract of `slopewise.study.tasks.Task`, checked on data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slopewise.study.tasks import Task

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

_IMAGES = 12


def check_task(task: Task, data: ImageData) -> None:
    """Check that a task keeps its contract, on random outputs for the first images of some data.

    The checks are: metrics are named once, with a chance that is finite; an output that the task calls fitting has a
    finite loss with a gradient, and one of another shape is refused in words; the sum of the losses of parts is that
    of the whole, and the mean is the sum over the images; scores do not depend on how a part is cut into batches, are
    those of all metrics and of no other, and are float64 numbers; two scorers share nothing; a scorer of training
    batches computes the primary metric at least, and the same; scores by class have a number for each class.

    Args:
        task: Task to check.
        data: Data that fit the task.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> from slopewise.study.data import load_data
        >>> from slopewise.study.tasks import Classification
        >>> from slopewise.study import StudySpec
        >>> check_task(Classification(), load_data(StudySpec().data))
    """
    task = task.bind(data)
    targets = data.train_targets[torch.arange(min(_IMAGES, len(data.train_targets)))]
    output = _fitting_output(task, targets, data)
    _check_metrics(task, data)
    _check_shapes(task, output, targets, data)
    _check_loss(task, output, targets)
    _check_scores(task, output, targets, data)


def _fitting_output(task: Task, targets: Tensor, data: ImageData) -> Tensor:
    outputs = task.outputs(data)
    assert isinstance(outputs, int), f"outputs() is {outputs!r}, not a number"
    assert outputs >= 1, f"outputs() is {outputs}: it must be 1 or more"
    generator = torch.Generator().manual_seed(0)
    sizes = {"masks": targets.shape[1:], "images": targets.shape[2:]}.get(task.targets, ())
    return torch.randn(len(targets), outputs, *sizes, generator=generator)


def _check_metrics(task: Task, data: ImageData) -> None:
    metrics = (*task.metrics(data), task.loss_metric)
    names = [metric.name for metric in metrics]
    assert len(metrics) > 1, "metrics() is empty: a study needs a primary metric"
    assert len(set(names)) == len(names), f"two metrics have one name (the loss is one of them): {names}"
    for metric in metrics:
        assert metric.name.isidentifier(), f"metric {metric.name!r}: its name must be an identifier"
        assert metric.better in ("higher", "lower"), f"metric {metric.name}: better is {metric.better!r}"
        assert metric.scale > 0, f"metric {metric.name}: scale is {metric.scale}"
        assert metric.chance is None or math.isfinite(metric.chance), f"metric {metric.name}: chance is {metric.chance}"
        assert metric.unit != "%", f"metric {metric.name}: its unit is 'points', in which differences are; % is printed"
        points = metric.unit == "points"
        assert (metric.scale == 100) == points, (
            f"metric {metric.name}: unit {metric.unit!r} with scale {metric.scale:g}"
        )
        low, high = (0, metric.span) if metric.span is not None and points else (-math.inf, math.inf)
        in_range = metric.chance is None or low <= metric.chance <= high
        assert in_range, f"metric {metric.name}: chance {metric.chance} is before scale, so between {low} and {high:g}"


def _check_shapes(task: Task, output: Tensor, targets: Tensor, data: ImageData) -> None:
    fault = task.fault(output, targets, data)
    assert fault is None, (
        f"an output of shape {tuple(output.shape)}, one of outputs() for an image, is refused: {fault}"
    )
    for wrong in (output[:-1], None):
        fault = task.fault(wrong, targets, data)
        assert fault, f"fault() accepts {type(wrong).__name__} {tuple(getattr(wrong, 'shape', ()))} as an output"
        assert "\n" not in fault, "fault() must be one line"


def _check_loss(task: Task, output: Tensor, targets: Tensor) -> None:
    output = output.double().requires_grad_()
    mean, total = task.loss(output, targets), task.loss(output, targets, reduction="sum")
    assert mean.shape == total.shape == (), f"loss() is no scalar: {tuple(mean.shape)}"
    assert math.isfinite(mean.item()), f"the loss of random outputs is {mean.item()}"
    (gradient,) = torch.autograd.grad(mean, output)
    assert gradient.abs().sum() > 0, "the loss has no gradient at random outputs"
    torch.testing.assert_close(total, mean * len(targets), msg="the mean loss times the images is not the sum")
    parts = sum(task.loss(o, t, reduction="sum") for o, t in zip(output.split(5), targets.split(5), strict=True))
    torch.testing.assert_close(torch.as_tensor(parts), total, msg="the losses of two parts do not add up to the whole")


def _check_scores(task: Task, output: Tensor, targets: Tensor, data: ImageData) -> None:
    whole, cut, other, training = task.scorer(), task.scorer(), task.scorer(), task.training_scorer()
    whole.update(output, targets)
    training.update(output, targets)
    for part, part_targets in zip(output.split(5), targets.split(5), strict=True):
        cut.update(part, part_targets)
    other.update(output[:1], targets[:1])
    scores = whole.compute()
    names = {metric.name for metric in task.metrics(data)}
    assert scores.keys() == names, f"scorer() computes {sorted(scores)}, metrics() names {sorted(names)}"
    for name, score in scores.items():
        assert score.shape == (), f"score {name} must be one number"
        assert score.dtype == torch.float64, f"score {name} must be float64, not {score.dtype}"
        whole_images = score.item() * len(targets)
        if {metric.name: metric for metric in task.metrics(data)}[name].per_image:
            assert abs(whole_images - round(whole_images)) < 1e-6, f"score {name} is per_image, but no count of images"
        message = f"score {name} depends on how the images are cut into batches"
        torch.testing.assert_close(cut.compute()[name], score, rtol=1e-9, atol=1e-9, msg=message)
    primary = task.metrics(data)[0].name
    trained = training.compute()
    assert trained.keys() <= names, f"training_scorer() computes {sorted(trained)}, which are not all of the metrics"
    assert primary in trained, f"training_scorer() does not compute the primary metric, {primary}"
    torch.testing.assert_close(trained[primary], scores[primary], msg=f"training_scorer() has another {primary}")
    for name, values in whole.by_class().items():
        assert values.shape == (len(data.classes),), f"by_class(): {name} has shape {tuple(values.shape)}"
