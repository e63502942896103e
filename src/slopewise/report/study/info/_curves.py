"""Figures over training: the mean of each arm by epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from slopewise.analysis import Curve, curves
from slopewise.drawing import listing
from slopewise.records import StudyRecord

_LATE, _LOG = ": the second half", " (logarithmic scale)"


@dataclass(frozen=True, slots=True)
class CurveInfo:
    """One figure over training.

    Attributes:
        key: "score", "late-score", "train-loss", "validation-loss", "never-positive" or "zero-gradient".
        title: Title of the chart.
        unit: Unit as it follows a number, with its space.
        digits: Number of decimals worth printing.
        curves: Curve of each arm that has one.
        from_zero: True if the axis starts at 0.
        log: True if the axis is logarithmic.
        late: True if only the second half of training is shown.
    """

    key: str
    title: str
    unit: str
    digits: int
    curves: dict[str, Curve]
    from_zero: bool = True
    log: bool = False
    late: bool = False

    @property
    def name(self) -> str:
        """Name of the y axis."""
        return self.title.removesuffix(_LATE).removesuffix(_LOG)

    @property
    def note(self) -> str:
        """Sentences about arms that have the same mean in every epoch, and those that stay at 0; may be empty."""
        alike: dict[tuple[float, ...], list[str]] = {}
        for arm, curve in self.curves.items():
            alike.setdefault(tuple(curve.mean), []).append(arm)
        return " ".join(
            f"{listing(arms)} {'is' if len(arms) == 1 else 'are'} at 0{self.unit} throughout."
            if not any(mean)
            else f"{listing(arms)} have the same mean in every epoch: their lines lie on each other."
            for mean, arms in alike.items()
            if len(arms) > 1 or not any(mean)
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """Ends of the possible values: the mean of a share lies in 0 to 100 %, though its interval can be wider."""
        return (0.0, 100.0) if self.unit == " %" else (-math.inf, math.inf)


def curve_info(study: StudyRecord, key: str) -> CurveInfo | None:
    """Return one figure over training; None while no arm has a value, or if the study has no such metric.

    Args:
        study: Records so far.
        key: Key of the figure, see `CurveInfo`.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> info = curve_info(synthetic_study(("relu", "elu"), seeds=3, epochs=4), "late-score")
        >>> info.title, info.curves["elu"].epochs
        ('Validation accuracy, %: the second half', (2, 3, 4))
    """
    kinds = _kinds(study)
    if key not in kinds:
        return None
    value, kind = kinds[key]
    known = {arm: curve for arm, curve in curves(study, value).items() if curve.epochs}
    if not known:
        return None
    if kind.late:
        known = {arm: _second_half(curve) for arm, curve in known.items()}
    return replace(kind, curves=known)


def _titled(title: str, unit: str) -> str:
    return f"{title}, {unit}" if unit else title


def _kinds(study: StudyRecord) -> dict[str, tuple[str, CurveInfo]]:
    """Return the figures of a study by key, as the name for `analysis.curves` and the chart without its curves."""
    score, digits = study.primary, study.primary.digits
    name, title = f"validation_{score.name}", _titled(f"Validation {score.title}", score.value_unit)
    unit, late = f" {score.value_unit}".rstrip(), f"{title}{_LATE}"
    kinds = [
        (name, CurveInfo("score", title, unit, digits, {}, from_zero=False)),
        (name, CurveInfo("late-score", late, unit, digits, {}, from_zero=False, late=True)),
    ]
    for loss in (metric for metric in study.metrics if metric.name == "loss"):
        for part, word in (("train", "Training"), ("validation", "Validation")):
            title, unit = f"{_titled(f'{word} loss', loss.unit)}{_LOG}", f" {loss.unit}".rstrip()
            kinds.append((f"{part}_loss", CurveInfo(f"{part}-loss", title, unit, loss.digits, {}, log=True)))
    never, zero = "Units that are never positive, %", "Units that get no gradient, %"
    kinds.append(("never_positive", CurveInfo("never-positive", never, " %", 2, {})))
    kinds.append(("zero_gradient", CurveInfo("zero-gradient", zero, " %", 2, {})))
    return {info.key: (value, info) for value, info in kinds}


def _second_half(curve: Curve) -> Curve:
    start = next(k for k, epoch in enumerate(curve.epochs) if 2 * epoch >= curve.epochs[-1])
    fields = ("steps", "epochs", "mean", "low", "high", "n")
    return replace(curve, **{field: getattr(curve, field)[start:] for field in fields})
