"""Figures of the call sites of a trial, from single columns of its records."""

from __future__ import annotations

import math
from typing import Any, Literal

from slopewise.records import TrialRecord

Fraction = Literal["never_positive", "zero_gradient"]


def unit_weighted(trial: TrialRecord, fraction: Fraction, *, last: bool = False) -> dict[int, float | None]:
    """Return the percentage of all units of the network by epoch; layers are weighted by their units.

    Layers without the fraction, to which no gradient can flow, are left out.

    Args:
        trial: Record of the trial.
        fraction: Name of the fraction of a layer's units.
        last: True for the last epoch alone.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> unit_weighted(synthetic_study(("relu",), seeds=1, epochs=1).trials[0], "never_positive", last=True)
        {1: 19.642857142857142}
    """
    rows = _rows_of_last(trial) if last else None
    layers: dict[int, list[tuple[float, int]]] = {}
    columns = trial.columns("sites", "epoch", "units", fraction, last=rows)
    for epoch, count, value in zip(*columns, strict=True):
        known = layers.setdefault(epoch, [])
        if value is not None and math.isfinite(value):
            known.append((value, count))
    return {epoch: _mean(known) for epoch, known in layers.items()}


def last_percentage(trial: TrialRecord, fraction: Fraction) -> float | None:
    """Return the percentage of all units of the network after the last epoch."""
    return next(iter(unit_weighted(trial, fraction, last=True).values()), None)


def final_slopes(trial: TrialRecord, *names: str) -> list[tuple[Any, ...]]:
    """Return fields of the call sites that have slopes, after the last epoch, in the order of the forward pass.

    Args:
        trial: Record of the trial.
        names: Names of fields of `SiteRecord`.
    """
    rows = _rows_of_last(trial)
    (slopes,) = trial.columns("sites", "slopes", last=rows)
    if not any(slopes):
        return []
    columns = trial.columns("sites", *names, last=rows)
    return [row for count, row in zip(slopes, zip(*columns, strict=True), strict=True) if count]


def _rows_of_last(trial: TrialRecord) -> int:
    """Return the number of rows of the last epoch, which are the last rows."""
    (epochs,) = trial.columns("sites", "epoch")
    return len(epochs) - epochs.index(max(epochs)) if epochs else 0


def _mean(layers: list[tuple[float, int]]) -> float | None:
    total = sum(units for _, units in layers)
    return 100 * math.fsum(value * units for value, units in layers) / total if total else None
