"""Paired comparisons of two arms of a study, or of one arm under two sets of settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from slopewise.analysis._contrasts import contrasts
from slopewise.analysis._metrics import Metric, primary_metric
from slopewise.analysis._power import Design
from slopewise.analysis._results import Contrast
from slopewise.analysis.claims._base import TrialKey
from slopewise.analysis.claims._settle import Direction, Measured
from slopewise.records import CellRecord, StudyRecord, TrialRecord

Band = float | Callable[[Contrast], float | None] | None


@dataclass(frozen=True, slots=True)
class Side:
    """Trials of one arm under one set of settings.

    Attributes:
        study: The study itself, or one of its cells as a study.
        arm: Name of the arm.
        cell: Key of the cell; empty for the study's own settings.
    """

    study: StudyRecord
    arm: str
    cell: str = ""

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Trials of the arm."""
        return tuple(trial for trial in self.study.trials if trial.arm == self.arm)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Planned seeds, with or without a trial yet."""
        return self.study.seeds

    def keys(self, seeds: tuple[int, ...]) -> tuple[TrialKey, ...]:
        """Return the keys of the arm's trials with these seeds."""
        return tuple(TrialKey(self.arm, seed, self.cell) for seed in seeds)


def in_cell(study: StudyRecord, arm: str, cell: CellRecord) -> Side:
    """Return the trials of an arm in a cell of a study."""
    return Side(study.in_cell(cell), arm, cell.key)


def contrast(
    one: Side, other: Side, metric: Metric, *, chance: float | None = None, target: float | None = None
) -> Contrast:
    """Compare two sides as `slopewise.analysis` compares an arm with its control, without correcting the p value.

    Args:
        one: Side that the claim is about.
        other: Side to compare it with.
        metric: Figure to compare.
        chance: Value of a diverged trial, in the metric's unit; None leaves out pairs with a diverged trial.
        target: Validation score to reach, for the metrics that count steps or seconds to it.
    """
    label, base = _labels(one, other)
    own = not (one.cell or other.cell)
    trials = [trial.renamed(name) for side, name in ((other, base), (one, label)) for trial in side.trials]
    duel = replace(
        one.study,
        arms=(base, label),
        control=base,
        seeds=tuple(dict.fromkeys((*one.seeds, *other.seeds))),
        trials=tuple(trials),
        looks=one.study.looks if own else (),
        cells=(),
    )
    (result,) = contrasts(duel, metric, chance=chance, target=target, looks=duel.looks)
    return result


def measured(
    result: Contrast,
    one: Side,
    other: Side,
    *,
    part: str,
    predicted: Direction,
    band: Band = None,
    counts: bool = True,
    cautions: tuple[str, ...] = (),
) -> Measured:
    """Return a contrast as a measured comparison of a claim; see `Measured` for the arguments.

    Without a band it is the margin of the contrast: the metric's own.
    """
    ids = [caution.id for caution in result.cautions]
    width = band(result) if callable(band) else result.margin if band is None else band
    return Measured(
        part=part,
        subject=f"{result.title} of {result.arm} against {result.control}",
        arms=(one.arm, other.arm),
        predicted=predicted,
        unit=result.unit,
        digits=result.digits,
        estimate=result.difference,
        interval=result.interval,
        p=1.0 if result.p is None else result.p,
        band=width or None,
        design=Design(result.converged, None if result.paired else result.control_converged),
        sd=result.sd,
        n=len(result.seeds),
        basis=result.basis,
        able="identical" not in ids and ids.count("untrained") < 2 and not (result.looks and result.look is None),
        looks=result.looks,
        counts=counts,
        trials=(*one.keys(result.seeds), *other.keys(result.control_seeds)),
        measure=_measure(result),
        values=(*result.arm_values, *result.control_values),
        cautions=(*cautions, *_left_out(result), *(caution.brief for caution in result.cautions)),
    )


def compare(
    one: Side,
    other: Side,
    metric: Metric,
    *,
    part: str,
    predicted: Direction,
    band: Band = None,
    chance: float | None = None,
    target: float | None = None,
    counts: bool = True,
    cautions: tuple[str, ...] = (),
) -> Measured:
    """Compare two sides on a metric; see `contrast` and `Measured` for the arguments."""
    result = contrast(one, other, metric, chance=chance, target=target)
    return measured(result, one, other, part=part, predicted=predicted, band=band, counts=counts, cautions=cautions)


def compare_scores(
    one: Side,
    other: Side,
    *,
    part: str,
    predicted: Direction | None = None,
    counts: bool = True,
    cautions: tuple[str, ...] = (),
) -> Measured:
    """Compare the final scores of two sides; diverged trials count as chance, and the band is the study's margin.

    Args:
        one: Side that the claim is about.
        other: Side to compare it with.
        part: Name of the part.
        predicted: Predicted direction of `one` minus `other`; by default that of a better score.
        counts: False for a comparison that is only reported beside the claim.
        cautions: Reasons not to trust the comparison.
    """
    study = one.study
    result = contrast(one, other, primary_metric(study), chance=floor_of(study))
    better = study.primary.better if predicted is None else predicted
    return measured(
        result, one, other, part=part, predicted=better, band=study.margin, counts=counts, cautions=cautions
    )


def effects(one: Side, other: Side) -> dict[int, float]:
    """Return the difference of the two sides' final scores by seed; empty if the sides are not paired."""
    result = contrast(one, other, primary_metric(one.study), chance=floor_of(one.study))
    return dict(zip(result.seeds, result.differences, strict=True)) if result.paired else {}


def floor_of(study: StudyRecord) -> float | None:
    """Return the score of a diverged trial, in the printed unit; None if the metric has no chance level."""
    return None if study.primary.chance is None else study.primary.scale * study.primary.chance


def worse(study: StudyRecord) -> Direction:
    """Return the direction of a worse final score."""
    return "lower" if study.primary.better == "higher" else "higher"


def _labels(one: Side, other: Side) -> tuple[str, str]:
    if one.cell == other.cell and one.arm != other.arm:
        return one.arm, other.arm
    label, base = (f"{side.arm} ({side.cell or 'own settings'})" for side in (one, other))
    return label, base if base != label else f"{base} again"


def _measure(result: Contrast) -> str:
    unit = {"points": "%"}.get(result.unit, result.unit)
    return f"{result.title}, {unit}" if unit else result.title


def _left_out(result: Contrast) -> tuple[str, ...]:
    notes = []
    if result.chance is None and (result.diverged or result.control_diverged):
        notes.append(
            f"seeds with a diverged trial ({result.diverged} of {result.arm}, {result.control_diverged} of "
            f"{result.control}) are left out"
        )
    if result.censored:
        pairs = f"{result.censored} of {len(result.seeds)} seeds"
        notes.append(f"in {pairs} a trial never reached the target, and counts as reaching it one epoch after its end")
    return tuple(notes)
