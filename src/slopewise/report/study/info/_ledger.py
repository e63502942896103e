"""Ledger of claims for the report: the verdict of a study on each claim, with the trials behind it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from slopewise.analysis.claims import Evidence, Finding, TrialKey, false_verdicts, ledger
from slopewise.drawing import NOTHING, interval, number, signed
from slopewise.records import StudyRecord, TrialRecord, amount
from slopewise.report.study.info._study import MOST_ROWS

OWN_SETTINGS = "the study’s own"  # name of the study's own settings, in place of a cell's key


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """Entry of the ledger.

    Attributes:
        evidence: The claim with the study's verdict and findings.
        own: Cautions of the finding shown that no other claim shares.
        measures: Titles of the figures of a trial that the claim compares; the final score on the test part if the
            findings name none.
        trials: Rows of text for the first trials behind it: arm, seed, settings, and each of the measures.
        behind: Number of all trials behind it.
    """

    evidence: Evidence
    own: tuple[str, ...]
    measures: tuple[str, ...]
    trials: tuple[tuple[str, ...], ...]
    behind: int


@dataclass(frozen=True, slots=True)
class SharedCaution:
    """Caution that several claims have.

    Attributes:
        text: The caution.
        claims: Numbers of the claims.
    """

    text: str
    claims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LedgerInfo:
    """All claims, in the order of their numbers.

    Attributes:
        tested: Claims that the study tests.
        shared: Cautions of several tested claims.
        untested: Claims that need a design that the study does not have.
        by_chance: Largest expected number of tested claims that are supported or contradicted by chance.
    """

    tested: tuple[ClaimInfo, ...]
    shared: tuple[SharedCaution, ...]
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
    tested = [entry for entry in entries if entry.verdict != "not tested"]
    shared = _shared(tested)
    return LedgerInfo(
        tuple(_claim(study, entry, {caution.text for caution in shared}) for entry in tested),
        shared,
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


def part_words(entry: Evidence) -> str:
    """Return the name of the part that an entry's finding is about; empty if the claim has only one."""
    return entry.finding.part if len({part.part for part in entry.parts}) > 1 else ""


def _shared(tested: Sequence[Evidence]) -> tuple[SharedCaution, ...]:
    claims: dict[str, list[int]] = {}
    for entry in tested:
        for caution in dict.fromkeys(entry.finding.cautions):
            claims.setdefault(caution, []).append(entry.number)
    return tuple(SharedCaution(text, tuple(numbers)) for text, numbers in claims.items() if len(numbers) > 1)


def _claim(study: StudyRecord, entry: Evidence, shared: Set[str]) -> ClaimInfo:
    findings = (*entry.parts, *entry.also)
    keys = {key for finding in findings for key in finding.trials}
    behind = [
        (TrialKey(trial.arm, trial.seed, trial.cell), trial)
        for trial in study.every_trial
        if TrialKey(trial.arm, trial.seed, trial.cell) in keys
    ]
    columns: dict[str, dict[TrialKey, str]] = {finding.measure: {} for finding in findings if finding.measure}
    for finding in findings:
        for key, value in zip(finding.trials, finding.values, strict=False):
            columns[finding.measure][key] = number(value, finding.digits)
    rows = [
        (
            trial.arm,
            study.seed_name(trial.seed) if not trial.cell else str(trial.seed),
            trial.cell or OWN_SETTINGS,
            *(_ended(trial) or column.get(key, NOTHING) for column in columns.values()),
            *(() if columns else (_score(study, trial),)),
        )
        for key, trial in behind[:MOST_ROWS]
    ]
    own = tuple(caution for caution in entry.finding.cautions if caution not in shared)
    return ClaimInfo(entry, own, tuple(columns) or (study.titled(study.primary),), tuple(rows), len(behind))


def _ended(trial: TrialRecord) -> str:
    """Return how a trial without figures ended; empty for one that trained."""
    return "failed" if trial.status == "failed" else "diverged" if trial.diverged else ""


def _score(study: StudyRecord, trial: TrialRecord) -> str:
    score = trial.score("test", study.primary.name)
    return _ended(trial) or (NOTHING if score is None else study.primary.shown(score))
