"""Metrics that a task scores its networks by, and the scores themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

_OF_CLASS = re.compile(r"(\w+)\[([0-9]{1,9})\]")
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """Definition of a metric, as data.

    Attributes:
        name: Name in records, code and keys of JSON: `accuracy`, `loss`, `psnr`, ...
        title: Name in print, to follow "test" or "validation".
        unit: Unit of `scale` times a score, and of differences between such: `points`, `dB`, `nats`. Scores are printed
            in "%" if it is "points", which are percentage points: `scale` is 100 then.
        better: Direction that is an improvement.
        scale: Factor from a stored score to the number in print; 100 turns a fraction into points.
        digits: Number of decimals in print.
        chance: Score, before `scale`, of a model that knows nothing, which is what a diverged trial counts with; None
            where no such value is known, so that pairs with a diverged trial are left out.
        span: Largest possible difference between two scores, before `scale`; None for no limit.
        per_image: True if the score is the mean over the images of the part, each of which counts 0 or 1. Its sampling
            error is then known, by which "did not learn" and the least width of intervals are judged.
        margin: Default of the smallest difference that is of practical interest, in `unit`; None where there is no
            sensible one, so that the user must choose.
        definition: Phrase that defines the metric and says what it is taken over, for the page; empty if it is not
            recorded.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    scale: float = 1.0
    digits: int = 4
    chance: float | None = None
    span: float | None = None
    per_image: bool = False
    margin: float | None = None
    definition: str = ""

    def shown(self, score: float, *, fewer: int = 0) -> str:
        """Return a score as print shows it.

        Args:
            score: The score.
            fewer: Number of decimals to leave out.

        Example:
            >>> classification_metrics(10)[0].shown(0.9731, fewer=1)
            '97.3 %'
        """
        return f"{self.scale * score:.{max(self.digits - fewer, 0)}f} {self.value_unit}".rstrip()

    @property
    def value_unit(self) -> str:
        """Unit of a score in print, as `value_unit` gives it."""
        return value_unit(self.unit)


def value_unit(unit: str) -> str:
    """Return the unit of values whose differences have a unit: values are in percent if differences are in points.

    Example:
        >>> value_unit("points"), value_unit("nats")
        ('%', 'nats')
    """
    return "%" if unit == "points" else unit


def amount(value: float | str, unit: str) -> str:
    """Return a difference with its unit.

    Args:
        value: The difference, or its digits.
        unit: Unit of differences; may be empty.

    Example:
        >>> amount(0.5, "points"), amount(1.0, "points"), amount("+0.10", "dB"), amount(0.01, "")
        ('0.5 points', '1 point', '+0.10 dB', '0.01')
    """
    digits = value if isinstance(value, str) else f"{value:g}"
    return f"{digits} {'point' if unit == 'points' and digits == '1' else unit}".rstrip()


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """One score of a trial.

    Attributes:
        epoch: Number of the epoch after which it was taken; None for the final weights, which alone are scored on the
            test part, and on the training part in evaluation mode and without augmentation. With an epoch, a score on
            the training part is that of the epoch's (augmented) batches, each computed before its step.
        part: Part of the data.
        metric: Name of the metric; of a score of one class, `class_metric` of it.
        value: The score, in the metric's own unit before `MetricRecord.scale`.
    """

    epoch: int | None
    part: Part
    metric: str
    value: float | None


def class_metric(name: str, number: int) -> str:
    """Return the name under which a score of one class is recorded.

    Args:
        name: Name of the score, such as `recall`.
        number: Number of the class.

    Example:
        >>> class_metric("recall", 3), class_of("recall[3]"), class_of("recall")
        ('recall[3]', ('recall', 3), None)
    """
    return f"{name}[{number}]"


def class_of(metric: str) -> tuple[str, int] | None:
    """Return name and class of a score of one class; None if the metric is of all classes."""
    match = _OF_CLASS.fullmatch(metric)
    return (match[1], int(match[2])) if match else None


def metrics_in(data: Mapping[str, Any]) -> tuple[MetricRecord, ...]:
    """Return the metrics that the facts of a study's data name.

    Studies of earlier versions name none: they are classification.
    """
    if "metrics" not in data:
        return classification_metrics(len(data["classes"]))
    known = {f.name for f in fields(MetricRecord)}
    return tuple(
        MetricRecord(**_EARLIER.get(metric["name"], {}) | {key: metric[key] for key in metric.keys() & known})
        for metric in data["metrics"]
    )


_EARLIER = {"accuracy": {"margin": 0.5}}  # fields that earlier versions did not store, with their values then


def classification_metrics(classes: int) -> tuple[MetricRecord, ...]:
    """Return the metrics of image classification: accuracy, which is primary, and cross-entropy.

    Args:
        classes: Number of classes; guessing among them scores 1 / `classes`.

    Example:
        >>> [(metric.name, metric.unit, metric.chance) for metric in classification_metrics(10)]
        [('accuracy', 'points', 0.1), ('loss', 'nats', None)]
    """
    return (
        MetricRecord(
            "accuracy",
            "accuracy",
            "points",
            "higher",
            100.0,
            2,
            chance=1 / classes,
            span=1.0,
            per_image=True,
            margin=0.5,
            definition="share of the images of the part whose largest logit is that of their class",
        ),
        MetricRecord("loss", "loss", "nats", "lower", definition="mean cross-entropy over the images of the part"),
    )
