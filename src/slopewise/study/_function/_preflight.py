"""Checks of a training function before the first trial, as far as they go without training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slopewise.errors import SpecError
from slopewise.records import MetricRecord
from slopewise.study._margin import check_margin, decimals, with_floor
from slopewise.study._references import resolve
from slopewise.study._spec import StudySpec
from slopewise.study._workplace import Workplace

LOSS = MetricRecord("loss", "loss", "", "lower", definition="loss that the training function logs")


def function_preflight(spec: StudySpec, folder: Path | None) -> tuple[Workplace, dict[str, Any]]:
    """Check the function of a spec, and return the folders of its trials and the facts of the study.

    Raises:
        SpecError: The function cannot be imported, does not take a trial and the options, or the margin is missing.
    """
    training_function(spec)
    metrics = function_metrics(spec)
    check_margin(spec, metrics[0])
    facts = {"metrics": [asdict(metric) for metric in metrics]}
    return Workplace(folder or Path.cwd()), facts


def function_metrics(spec: StudySpec) -> tuple[MetricRecord, ...]:
    """Return the metrics that the spec says the function returns, and the loss after the primary one.

    Example:
        >>> spec = StudySpec(train={"function": "m:train"}, metrics=[{"name": "psnr", "better": "higher"}], margin=0.1)
        >>> [(metric.name, metric.digits) for metric in function_metrics(spec)]
        [('psnr', 2), ('loss', 4)]
    """
    primary, *others = (
        MetricRecord(
            metric.name,
            metric.title or metric.name,
            metric.unit,
            metric.better,
            scale=metric.scale,
            digits=decimals(spec.margin) if number == 0 and spec.margin else 4,
            definition="as the training function computes it",
        )
        for number, metric in enumerate(spec.metrics)
    )
    loss = [] if any(metric.name == LOSS.name for metric in (primary, *others)) else [LOSS]
    return (with_floor(spec, primary), *loss, *others)


def training_function(spec: StudySpec) -> Callable[..., Any]:
    """Import the training function of a spec.

    Raises:
        SpecError: It cannot be imported, or its parameters are not a trial and the options of the spec.
    """
    reference = spec.train.function or ""
    function = resolve(reference)
    try:
        inspect.signature(function).bind(None, **spec.train.options)
    except TypeError as error:
        options = f", {', '.join(spec.train.options)}" if spec.train.options else ""
        raise SpecError(
            f"train.function: '{reference}' is called as {reference.rpartition(':')[2]}(trial{options}), which does "
            f"not fit its parameters: {error}; train.options holds its further arguments"
        ) from error
    except ValueError:  # a callable of C code, whose parameters cannot be read
        return function
    return function
