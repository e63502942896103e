"""Comparisons with a fixed value: of the mean of one figure per seed, and of a rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slopewise.analysis._looks import at_look, completed_look
from slopewise.analysis._pairs import Pairs
from slopewise.analysis._power import Design
from slopewise.analysis._rates import binomial_p, clopper_pearson
from slopewise.analysis.claims._base import TrialKey
from slopewise.analysis.claims._settle import Direction, Measured
from slopewise.records import StudyRecord


def of_values(
    study: StudyRecord,
    arms: tuple[str, ...],
    values: Mapping[int, float],
    *,
    part: str,
    subject: str,
    predicted: Direction,
    unit: str,
    digits: int,
    band: float | None,
    keys: Callable[[tuple[int, ...]], Sequence[TrialKey]],
    own: bool = True,
    shown: Callable[[float], float] = lambda value: value,
    counts: bool = True,
    supports: bool = True,
    cautions: tuple[str, ...] = (),
    measure: str = "",
    measured: Callable[[tuple[int, ...]], Sequence[float]] = lambda _: (),
) -> Measured:
    """Compare the mean of one value per seed with 0, by the exact sign-flip test and `mean_interval`.

    Args:
        study: The study.
        arms: Arms that the values come from.
        values: Values by seed.
        part: Name of the part.
        subject: Noun phrase that names the figure.
        predicted: Side of 0 on which the claim predicts the mean.
        unit: Unit of the figure.
        digits: Number of decimals worth printing.
        band: Largest distance of the figure (after `shown`) from its null value without practical effect.
        keys: Function (seeds) -> keys of the trials behind their values.
        own: True if the values come from the study's own settings, to which the looks of an adaptive study apply.
        shown: Increasing function from the mean to the reported figure; the figure's null value is `shown(0)`.
        counts: False for a comparison that is only reported beside the claim.
        supports: False if the predicted outcome is no evidence for the claim.
        cautions: Reasons not to trust the comparison.
        measure: Figure of a trial that the values come from, with its unit.
        measured: Function (seeds) -> this figure of each of the trials.

    Example:
        >>> study = StudyRecord(("relu",), "relu", (0, 1, 2), 0.5, ())
        >>> row = of_values(study, ("relu",), {0: 1.0, 1: 2.0, 2: 3.0}, part="one", subject="it", predicted="higher",
        ...     unit="", digits=1, band=None, keys=lambda seeds: ())
        >>> row.estimate, row.p
        (2.0, 0.25)
    """
    looks = study.looks if own else ()
    look = completed_look(replace(study, control=arms[-1]), arms[0]) if looks else None
    planned = study.seeds[:look]
    seeds = tuple(seed for seed in (planned if own else sorted(values)) if seed in values)
    numbers, design = tuple(values[seed] for seed in seeds), Design(len(seeds))
    sample = Pairs(seeds, seeds, numbers, (0.0,) * len(seeds), design, len(seeds), len(seeds), 0, 0, 0, 0)
    if looks:
        sample = at_look(study, look, sample)
    interval = tuple(shown(end) for end in sample.interval(0.0)) if len(seeds) > 1 else None
    return Measured(
        part=part,
        subject=subject,
        arms=arms,
        predicted=predicted,
        unit=unit,
        digits=digits,
        estimate=shown(sample.difference) if seeds else None,
        interval=None if interval is None else (interval[0], interval[1]),
        p=sample.p(),
        band=band,
        design=design,
        sd=sample.sd,
        n=len(seeds),
        basis=f"{len(seeds)} seed{'s' * (len(seeds) != 1)}",
        null=shown(0.0),
        able=sample.decides,
        supports=supports,
        counts=counts,
        looks=looks,
        trials=tuple(keys(seeds)),
        measure=measure,
        values=tuple(measured(seeds)),
        cautions=cautions,
    )


def of_rate(
    arms: tuple[str, ...],
    events: int,
    trials: int,
    *,
    part: str,
    subject: str,
    predicted: Direction,
    null: float,
    keys: Sequence[TrialKey],
    noun: str = "trial",
    band: float | None = None,
    counts: bool = True,
    cautions: tuple[str, ...] = (),
) -> Measured:
    """Compare a rate with a fixed rate, by the exact binomial test and Clopper and Pearson's interval.

    Args:
        arms: Arms that the trials come from.
        events: Number of trials with the event.
        trials: Number of trials.
        part: Name of the part.
        subject: Noun phrase that names the rate.
        predicted: Side of `null` on which the claim predicts the rate.
        null: Rate to compare with, as a fraction.
        keys: Keys of the trials.
        noun: Noun for what is counted, in the singular.
        band: Largest distance from `null` without practical effect, in percentage points.
        counts: False for a comparison that is only reported beside the claim.
        cautions: Reasons not to trust the comparison.
    """
    low, high = clopper_pearson(events, trials) if trials else (0.0, 1.0)
    return Measured(
        part=part,
        subject=subject,
        arms=arms,
        predicted=predicted,
        unit="%",
        digits=1,
        estimate=100 * events / trials if trials else None,
        interval=(100 * low, 100 * high) if trials else None,
        p=binomial_p(events, trials, null),
        band=band,
        design=Design(trials),
        n=trials,
        basis=f"{trials} {noun}{'s' * (trials != 1)}",
        null=100 * null,
        counts=counts,
        trials=tuple(keys),
        cautions=cautions,
    )
