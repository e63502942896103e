"""Ledger of claims for the report: the verdict of a study on each claim, with the trials behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slopewise.analysis.claims import Evidence, Finding, false_verdicts, ledger
from slopewise.drawing import NOTHING, interval, number, signed
from slopewise.records import StudyRecord, TrialRecord, amount
from slopewise.report.study.info._study import MOST_ROWS

OWN_SETTINGS = "the study’s own"  # name of the study's own settings, in place of a cell's key


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """Entry of the ledger.

    Attributes:
        evidence: The claim with the study's verdict and findings.
        trials: Rows of text for the first trials behind it: arm, seed, settings, final score on the test part.
        behind: Number of all trials behind it.
    """

    evidence: Evidence
    trials: tuple[tuple[str, ...], ...]
    behind: int


@dataclass(frozen=True, slots=True)
class LedgerInfo:
    """All claims, in the order of their numbers.

    Attributes:
        tested: Claims that the study tests.
        untested: Claims that need a design that the study does not have.
        by_chance: Largest expected number of tested claims that are supported or contradicted by chance.
    """

    tested: tuple[ClaimInfo, ...]
    untested: tuple[Evidence, ...]
    by_chance: float


def ledger_info(study: StudyRecord) -> LedgerInfo:
    """Return the ledger of a study.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> info = ledger_info(synthetic_study(("relu", "prelu_channel"), seeds=8))
        >>> "steps-to-target" in [claim.evidence.claim for claim in info.tested], info.untested[0].claim
        (True, 'tuned-score')
    """
    entries = ledger(study)
    rows = _trial_rows(study)
    return LedgerInfo(
        tuple(_claim(entry, rows) for entry in entries if entry.verdict != "not tested"),
        tuple(entry for entry in entries if entry.verdict == "not tested"),
        false_verdicts(entries),
    )


def figure_words(finding: Finding) -> str:
    """Return a finding's figure with its unit, such as "+1.20 points" or "1.31 ×"; differences get a sign."""
    if finding.estimate is None:
        return NOTHING
    shown = signed if finding.null == 0 else number
    return amount(shown(finding.estimate, finding.digits), finding.unit)


def ends_words(finding: Finding) -> str:
    """Return a finding's 95 % interval as text."""
    return interval(finding.interval, finding.digits)


def arms_words(finding: Finding) -> str:
    """Return the arms of a finding as text, with their settings if these are not the study's own.

    Example:
        >>> from slopewise.analysis.claims import TrialKey
        >>> half = (TrialKey("elu", 0, "train.lr = 0.1"), TrialKey("relu", 0, "train.lr = 0.1"))
        >>> arms_words(Finding("score", "inconclusive", "", arms=("elu", "relu"), trials=half))
        'elu against relu, train.lr = 0.1'
        >>> own = (TrialKey("elu", 0, "train.lr = 0.1"), TrialKey("elu", 0))
        >>> arms_words(Finding("score", "inconclusive", "", arms=("elu", "elu"), trials=own))
        'elu, train.lr = 0.1 against elu, the study’s own settings'
    """
    first, *others = finding.arms or (NOTHING,)
    cells = tuple(dict.fromkeys(trial.cell for trial in finding.trials))
    if others == [first] and len(cells) == 2:  # one arm under two sets of settings
        return " against ".join(f"{first}, {cell or f'{OWN_SETTINGS} settings'}" for cell in cells)
    arms = f"{first} against {', '.join(others)}" if others else first
    return f"{arms}, {cells[0]}" if len(cells) == 1 and cells[0] else arms


def _claim(entry: Evidence, rows: Mapping[tuple[str, int, str], tuple[str, ...]]) -> ClaimInfo:
    keys = {(trial.arm, trial.seed, trial.cell) for part in (*entry.parts, *entry.also) for trial in part.trials}
    behind = [row for key, row in rows.items() if key in keys]
    return ClaimInfo(entry, tuple(behind[:MOST_ROWS]), len(behind))


def _trial_rows(study: StudyRecord) -> dict[tuple[str, int, str], tuple[str, ...]]:
    """Return the row of every trial by arm, seed and cell; trials under the study's own settings come first."""
    return {
        (trial.arm, trial.seed, trial.cell): (
            trial.arm,
            study.seed_name(trial.seed) if not trial.cell else str(trial.seed),
            trial.cell or OWN_SETTINGS,
            _score(study, trial),
        )
        for trial in study.every_trial
    }


def _score(study: StudyRecord, trial: TrialRecord) -> str:
    if trial.status == "failed":
        return "failed"
    if trial.diverged:
        return "diverged"
    score = trial.score("test", study.primary.name)
    return NOTHING if score is None else study.primary.shown(score)
