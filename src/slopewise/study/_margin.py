"""Margin of a study: the one that its spec gives, or the default of its primary metric; and the bounds of both."""

from __future__ import annotations

import math
from dataclasses import replace

from slopewise.errors import SpecError
from slopewise.records import MetricRecord, amount
from slopewise.study._spec import StudySpec

_FINEST = 1e-5  # of the metric's span, one image in 100,000: to show less takes hundreds of thousands of seeds


def margin_of(spec: StudySpec, metric: MetricRecord) -> float:
    """Return the margin of a study in the unit of its primary metric.

    Raises:
        SpecError: The spec gives none, and the metric has no default.

    Example:
        >>> from slopewise.records import classification_metrics
        >>> margin_of(StudySpec(), classification_metrics(10)[0]), margin_of(StudySpec(margin=1), MetricRecord("f", \
"F score", "", "higher"))
        (0.5, 1.0)
    """
    if spec.margin is not None:
        return spec.margin
    if metric.margin is None:
        unit = f" {metric.unit}" if metric.unit else ""
        raise SpecError(
            f"margin: how large a difference in {metric.title} matters depends on what it is used for, so it has no "
            f"default: choose the smallest difference that matters to you, before you see results, and write "
            f"`margin = X` in the spec or `--margin X` (X in{unit or ' the unit of the metric'})"
        )
    return metric.margin


def least_margin(metric: MetricRecord) -> float:
    """Return the smallest margin that a study of the metric takes; 0 for a metric without a largest difference."""
    return 0.0 if metric.span is None else _FINEST * metric.scale * metric.span


def check_margin(spec: StudySpec, metric: MetricRecord) -> None:
    """Check that a study has a margin, and that differences of its metric can be smaller and larger.

    Raises:
        SpecError: It has none, or the margin is too small or too large.

    Example:
        >>> from slopewise.records import classification_metrics
        >>> check_margin(StudySpec(margin=1e-12), classification_metrics(10)[0])
        Traceback (most recent call last):
        ...
        slopewise.errors.SpecError: margin: 1e-12 points is less than 0.001, the least margin: give the smallest \
difference in accuracy that matters to you
    """
    margin, least = margin_of(spec, metric), least_margin(metric)
    if margin < least:
        raise SpecError(
            f"margin: {amount(margin, metric.unit)} is less than {least:g}, the least margin: give the smallest "
            f"difference in {metric.title} that matters to you"
        )
    if metric.span is not None and margin > (most := metric.scale * metric.span):
        raise SpecError(f"margin: at most {amount(most, metric.unit)}, which is every difference, but it is {margin:g}")


def with_floor(spec: StudySpec, metric: MetricRecord) -> MetricRecord:
    """Return the primary metric with the spec's floor, if it gives one, as the score of a model that knows nothing."""
    return metric if spec.floor is None else replace(metric, chance=spec.floor / metric.scale)


def decimals(margin: float) -> int:
    """Return the number of decimals that show a tenth of a margin.

    Example:
        >>> decimals(0.5), decimals(0.1), decimals(25), decimals(0.002)
        (2, 2, 0, 4)
    """
    return max(0, 1 - math.floor(math.log10(margin)))
