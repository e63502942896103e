"""Tuned learning rates as rows of text."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.analysis import ArmTuning
from slopewise.drawing import NOTHING, number
from slopewise.records import StudyRecord


def tuning_rows(study: StudyRecord, tunings: Sequence[ArmTuning]) -> tuple[tuple[str, ...], ...]:
    """Return a row for each arm: name, tuned rate, score at that rate, rates with diverged trials, note.

    Example:
        >>> from slopewise.analysis import tuning
        >>> from slopewise.testing import synthetic_study, with_cells
        >>> study = with_cells(synthetic_study(("relu",), seeds=2), tune=[0.1, 0.05, 0.01])
        >>> tuning_rows(study, tuning(study))[0][:2]
        ('relu', '0.05')
    """
    return tuple(
        (
            arm.arm,
            NOTHING if arm.rate is None else f"{arm.rate:g}",
            number(_best(arm), study.primary.digits),
            _diverged(arm),
            _note(arm),
        )
        for arm in tunings
    )


def _note(arm: ArmTuning) -> str:
    if arm.edge:
        return f"the {arm.edge} rate that was tried: a better rate may lie beyond it"
    if arm.passed_over:
        return f"{arm.passed_over:g} scores better, but is at, next to or above a rate at which a trial diverged"
    return ""


def score_words(arm: ArmTuning, place: int, digits: int) -> str:
    """Return the score at one rate, with the number of diverged trials."""
    diverged = f" ({arm.diverged[place]} diverged)" if arm.diverged[place] else ""
    return f"{number(arm.scores[place], digits)}{diverged}"


def _best(arm: ArmTuning) -> float | None:
    return None if arm.rate is None else arm.scores[arm.rates.index(arm.rate)]


def _diverged(arm: ArmTuning) -> str:
    rates = sorted(rate for rate, diverged in zip(arm.rates, arm.diverged, strict=True) if diverged)
    return ", ".join(f"{rate:g}" for rate in rates) or "none"
